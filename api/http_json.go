package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

var errJSON = invalid("the body is not one JSON object without duplicate keys")

// object is a JSON object whose fields are taken one by one: names count
// exactly, duplicates and what is left over are refused.
type object map[string]json.RawMessage

func parseObject(body []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') || !utf8.Valid(body) {
		return nil, errJSON
	}
	o := object{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errJSON
		}
		var raw json.RawMessage
		if _, twice := o[name]; twice || dec.Decode(&raw) != nil {
			return nil, errJSON
		}
		o[name] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, errJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return o, nil
}

// take moves a field into v; it reports whether it was there.
func (o object) take(name string, v any) (bool, error) {
	raw, ok := o[name]
	if !ok {
		return false, nil
	}
	delete(o, name)
	if err := json.Unmarshal(raw, v); err != nil || bytes.Equal(raw, []byte("null")) {
		return false, invalid(name + ": it has the wrong type")
	}
	return true, nil
}

// takeDuration moves a time such as 90d or 1h30m; nil: it was not there.
func (o object) takeDuration(name string) (*durationpb.Duration, error) {
	var text string
	has, err := o.take(name, &text)
	if err != nil || !has {
		return nil, err
	}
	d, err := hexrv1.ParseDuration(text)
	if err != nil {
		return nil, invalid(name + ": " + err.Error())
	}
	return durationpb.New(d), nil
}

// takeMap moves an object of strings.
func (o object) takeMap(name string) (map[string]string, error) {
	raw, ok := o[name]
	if !ok {
		return nil, nil
	}
	delete(o, name)
	inner, err := parseObject(raw)
	if err != nil {
		return nil, invalid(name + ": it must be an object of strings, without duplicate keys")
	}
	out := map[string]string{}
	for k := range inner {
		var v string
		if _, err := inner.take(k, &v); err != nil {
			return nil, invalid(name + ": it must be an object of strings")
		}
		out[k] = v
	}
	return out, nil
}

// end refuses what nobody took.
func (o object) end() error {
	if len(o) > 0 {
		return invalid("the body has a field that this method does not know")
	}
	return nil
}

// toHTTP is a response as DESIGN's routes have it: a value as text where it is
// UTF-8, else as base64 in "data"; listings with their paths beside.
func toHTTP(m proto.Message) any {
	switch r := m.(type) {
	case *hexrv1.GetResponse:
		return secretJSON(r)
	case *hexrv1.BatchGetResponse:
		results := make([]any, 0, len(r.GetResults()))
		for _, res := range r.GetResults() {
			one := map[string]any{"path": res.GetPath()}
			if res.GetSecret() != nil {
				one["secret"] = secretJSON(res.GetSecret())
			} else {
				one["error"] = hexrv1.ToJSON(res.GetError())
			}
			results = append(results, one)
		}
		return map[string]any{"results": results}
	case *hexrv1.ListResponse:
		paths := make([]string, 0, len(r.GetSecrets()))
		for _, s := range r.GetSecrets() {
			paths = append(paths, s.GetPath())
		}
		out := hexrv1.ToJSON(m).(map[string]any)
		out["paths"] = paths
		return out
	case *hexrv1.DescribeResponse:
		return hexrv1.ToJSON(r.GetSecret())
	}
	return hexrv1.ToJSON(m)
}

func secretJSON(r *hexrv1.GetResponse) map[string]any {
	out := hexrv1.ToJSON(r).(map[string]any)
	delete(out, "value")
	if utf8.Valid(r.GetValue()) {
		out["value"] = string(r.GetValue())
	} else {
		out["data"] = base64.StdEncoding.EncodeToString(r.GetValue())
	}
	return out
}
