package client

import "google.golang.org/grpc/codes"

// codeOf reads a code's name, as batches and HTTP have it.
func codeOf(name string) codes.Code {
	var c codes.Code
	if c.UnmarshalJSON([]byte(`"`+name+`"`)) != nil {
		return codes.Unknown
	}
	return c
}
