package api

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// params are the query's parameters, taken one by one: duplicates and what is
// left over are refused.
type params struct {
	values url.Values
	err    error
}

func query(r *http.Request) *params {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &params{nil, invalid("the query is not well escaped")}
	}
	return &params{v, nil}
}

func (p *params) text(name string) string {
	v := p.values[name]
	delete(p.values, name)
	if len(v) > 1 && p.err == nil {
		p.err = invalid(name + ": it is given twice")
	}
	if len(v) == 0 {
		return ""
	}
	if !utf8.ValidString(v[0]) && p.err == nil {
		p.err = invalid(name + ": it is not UTF-8")
	}
	return v[0]
}

// typed is for what is no text: given empty, as by a variable that is not set, it
// is no number, time or flag. `destroy=true&version=` would destroy all versions.
func (p *params) typed(name string) (string, bool) {
	given := p.values.Has(name)
	s := p.text(name)
	if given && s == "" && p.err == nil {
		p.err = invalid(name + ": it is empty: leave it out, or give a value")
	}
	return s, given && s != ""
}

func (p *params) number(name string) uint64 {
	s, ok := p.typed(name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && p.err == nil {
		p.err = invalid(name + ": it is not a number")
	}
	return n
}

func (p *params) flag(name string) bool {
	s, ok := p.typed(name)
	if !ok {
		return false
	}
	b, err := strconv.ParseBool(s)
	if err != nil && p.err == nil {
		p.err = invalid(name + ": use true or false")
	}
	return b
}

func (p *params) time(name string) *timestamppb.Timestamp {
	s, ok := p.typed(name)
	if !ok {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil && p.err == nil {
		p.err = invalid(name + ": use RFC 3339, e.g. 2026-01-02T15:04:05Z")
	}
	return timestamppb.New(t)
}

func (p *params) end() error {
	if p.err == nil && len(p.values) > 0 {
		p.err = invalid("the query has a parameter that this method does not know")
	}
	return p.err
}

// plain is for requests without fields.
func plain[M any, P interface {
	*M
	proto.Message
}](_ string, r *http.Request, _ []byte) (proto.Message, error) {
	return P(new(M)), query(r).end()
}

func decodeGet(path string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	req := &hexrv1.GetRequest{Path: path, Version: q.number("version"), Scope: q.text("scope")}
	return req, q.end()
}

func decodeDescribe(path string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	return &hexrv1.DescribeRequest{Path: path, Scope: q.text("scope")}, q.end()
}

func decodeVersions(path string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	return &hexrv1.VersionsRequest{Path: path, Scope: q.text("scope")}, q.end()
}

func decodeDelete(path string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	return &hexrv1.DeleteRequest{Path: path, Scope: q.text("scope")}, q.end()
}

func decodeDestroy(path string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	req := &hexrv1.DestroyRequest{Path: path, Scope: q.text("scope"), Version: q.number("version")}
	if !q.flag("destroy") && q.err == nil {
		return nil, invalid("destroy: leave it out, or say true")
	}
	return req, q.end()
}

func decodeUndelete(path string, r *http.Request, body []byte) (proto.Message, error) {
	q := query(r)
	req := &hexrv1.UndeleteRequest{Path: path, Scope: q.text("scope")}
	if len(body) > 0 {
		o, err := parseObject(body)
		if err != nil {
			return nil, err
		}
		if _, err := o.take("scope", &req.Scope); err != nil {
			return nil, err
		}
		if err := o.end(); err != nil {
			return nil, err
		}
	}
	return req, q.end()
}

func decodePut(path string, r *http.Request, body []byte) (proto.Message, error) {
	if err := query(r).end(); err != nil {
		return nil, err
	}
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	req := &hexrv1.PutRequest{Path: path}
	var text string
	var data []byte
	hasText, err1 := o.take("value", &text)
	hasData, err2 := o.take("data", &data)
	_, err3 := o.take("scope", &req.Scope)
	var expected uint64
	hasExpected, err4 := o.take("expected_version", &expected)
	var err5 error
	req.Metadata, err5 = o.takeMap("metadata")
	for _, err := range []error{err1, err2, err3, err4, err5, o.end()} {
		if err != nil {
			return nil, err
		}
	}
	if hasText == hasData {
		return nil, invalid(`give exactly one of "value" (text) and "data" (base64)`)
	}
	if req.Value = data; hasText {
		req.Value = []byte(text)
	}
	if hasExpected {
		req.ExpectedVersion = &expected
	}
	return req, nil
}

func decodeList(_ string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	return &hexrv1.ListRequest{
		Prefix: q.text("prefix"), Scope: q.text("scope"), PageSize: pageParam(q), PageToken: q.text("page_token"),
		IncludeDeleted: q.flag("include_deleted"),
	}, q.end()
}

func pageParam(q *params) uint32 { return uint32(min(q.number("page_size"), 1<<31)) }

func decodeBatchGet(_ string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.BatchGetRequest{}
	return req, decodeFields(r, body, map[string]any{"paths": &req.Paths, "scope": &req.Scope})
}

func decodeQuery(_ string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	return &hexrv1.QueryRequest{
		Since: q.time("since"), Until: q.time("until"), Caller: q.text("caller"), Path: q.text("path"),
		Outcome: q.text("outcome"), Operation: q.text("operation"), PageSize: pageParam(q), Cursor: q.text("cursor"),
	}, q.end()
}

func decodeTail(_ string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	req := &hexrv1.TailRequest{Caller: q.text("caller")}
	if q.values.Has("from") {
		from := q.number("from")
		req.From = &from
	}
	return req, q.end()
}

// decodeFields takes the fields of a body into their places.
func decodeFields(r *http.Request, body []byte, places map[string]any) error {
	if err := query(r).end(); err != nil {
		return err
	}
	if len(body) == 0 {
		return nil
	}
	o, err := parseObject(body)
	if err != nil {
		return err
	}
	for name, place := range places {
		if _, err := o.take(name, place); err != nil {
			return err
		}
	}
	return o.end()
}

func decodeTransfer(_ string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.TransferLeadershipRequest{}
	return req, decodeFields(r, body, map[string]any{"node_id": &req.NodeId})
}

func decodeCreateToken(_ string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.CreateTokenRequest{}
	var ttl string
	if err := decodeFields(r, body, map[string]any{"node_id": &req.NodeId, "ttl": &ttl}); err != nil {
		return nil, err
	}
	if ttl != "" {
		d, err := time.ParseDuration(ttl)
		if err != nil {
			return nil, invalid("ttl: use a duration such as 30m")
		}
		req.Ttl = durationpb.New(d)
	}
	return req, nil
}

func decodeBlock(_ string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.BlockRequest{}
	return req, decodeFields(r, body, map[string]any{"subject": &req.Subject})
}

func decodeUnblock(_ string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	return &hexrv1.UnblockRequest{Subject: q.text("subject")}, q.end()
}

func decodeRemoveMember(id string, r *http.Request, _ []byte) (proto.Message, error) {
	return &hexrv1.RemoveMemberRequest{NodeId: id}, query(r).end()
}

func decodeRevokeToken(id string, r *http.Request, _ []byte) (proto.Message, error) {
	return &hexrv1.RevokeTokenRequest{Id: id}, query(r).end()
}

func decodeSetSetting(name string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.SetSettingRequest{Name: name}
	return req, decodeFields(r, body, map[string]any{"value": &req.Value})
}

func decodeRotateKeys(_ string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.RotateKeysRequest{}
	return req, decodeFields(r, body, map[string]any{"kind": &req.Kind})
}
