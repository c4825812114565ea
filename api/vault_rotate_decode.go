package api

import (
	"errors"
	"net/http"

	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// stepBody takes the fields of a step's body.
func stepBody(r *http.Request, body []byte, take func(o object) error) error {
	if err := query(r).end(); err != nil {
		return err
	}
	o := object{}
	if len(body) > 0 {
		var err error
		if o, err = parseObject(body); err != nil {
			return err
		}
	}
	if err := take(o); err != nil {
		return err
	}
	return o.end()
}

func decodeRotateBegin(path string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.RotateBeginRequest{Path: path}
	return req, stepBody(r, body, func(o object) (err error) {
		_, err1 := o.take("scope", &req.Scope)
		_, err2 := o.take("generation", &req.Generation)
		req.Ttl, err = o.takeDuration("ttl")
		return errors.Join(err1, err2, err)
	})
}

func decodeRotateStage(path string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.RotateStageRequest{Path: path}
	return req, stepBody(r, body, func(o object) (err error) {
		var text string
		var data []byte
		_, err1 := o.take("scope", &req.Scope)
		_, err2 := o.take("generation", &req.Generation)
		hasText, err3 := o.take("value", &text)
		hasData, err4 := o.take("data", &data)
		req.Metadata, err = o.takeMap("metadata")
		if err := errors.Join(err1, err2, err3, err4, err); err != nil {
			return err
		}
		req.Value, err = eitherValue(text, hasText, data, hasData)
		return err
	})
}

func decodeRotateCommit(path string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.RotateCommitRequest{Path: path}
	return req, stepBody(r, body, func(o object) (err error) {
		_, err1 := o.take("scope", &req.Scope)
		_, err2 := o.take("generation", &req.Generation)
		_, err3 := o.take("version", &req.Version)
		req.Grace, err = o.takeDuration("grace")
		return errors.Join(err1, err2, err3, err)
	})
}

func decodeRotateAbort(path string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.RotateAbortRequest{Path: path}
	return req, stepBody(r, body, func(o object) error {
		_, err1 := o.take("scope", &req.Scope)
		_, err2 := o.take("generation", &req.Generation)
		return errors.Join(err1, err2)
	})
}

func decodeSetRotation(path string, r *http.Request, body []byte) (proto.Message, error) {
	req := &hexrv1.SetRotationRequest{Path: path}
	return req, stepBody(r, body, func(o object) (err error) {
		_, err1 := o.take("scope", &req.Scope)
		req.Rotation, err = o.takeDuration("rotation")
		if err == nil && req.Rotation == nil {
			err = invalid("rotation: say how often, e.g. 90d, or 0s for no schedule")
		}
		return errors.Join(err1, err)
	})
}
