package fsm

import "strings"

const maxPath = 512

// Path names a secret within a scope.
type Path string

// ParsePath reads a path, or returns ErrPath.
func ParsePath(s string) (Path, error) {
	if s == "" || len(s) > maxPath {
		return "", ErrPath
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", ErrPath
		}
		for i := range len(segment) {
			if !wordByte(segment[i]) {
				return "", ErrPath
			}
		}
	}
	return Path(s), nil
}

// ParsePrefix reads the beginning of a path, which may be empty or end within a
// segment.
func ParsePrefix(s string) (string, error) {
	if len(s) > maxPath {
		return "", ErrPath
	}
	for i := range len(s) {
		if !wordByte(s[i]) && s[i] != '/' {
			return "", ErrPath
		}
	}
	return s, nil
}
