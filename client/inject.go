package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// field is a place that a secret goes to.
type field struct {
	path     string
	optional bool
	value    reflect.Value
}

// Inject fills the fields of the struct that target points to and that have a
// tag such as `hexr:"OPENAI_API_KEY"`, in one round trip. Fields are of type
// Value, Secret, string or []byte; structs in it are filled too. Without
// ",optional" in the tag a secret must exist: the error names the tags that are
// missing, and nothing is filled then.
func (c *Client) Inject(ctx context.Context, target any) error {
	v := reflect.ValueOf(target)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("%w: inject needs a pointer to a struct", ErrInvalid)
	}
	fields, err := collect(v.Elem(), nil)
	if err != nil || len(fields) == 0 {
		return err
	}
	paths := make([]string, len(fields))
	for i, f := range fields {
		paths[i] = f.path
	}
	results, err := c.BatchGet(ctx, paths, "")
	if err != nil {
		return err
	}
	var missing []error
	for i, r := range results {
		if r.Err != nil && (!fields[i].optional || !errors.Is(r.Err, ErrNotFound)) {
			missing = append(missing, fmt.Errorf("%s: %w", fields[i].path, r.Err))
		}
	}
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	for i, r := range results {
		if r.Err == nil {
			fields[i].set(r.Secret)
		}
	}
	return nil
}

// With fills a T and calls fn with it: fn does not run when a secret is missing.
func With[T any](ctx context.Context, c *Client, fn func(context.Context, T) error) error {
	var target T
	if err := c.Inject(ctx, &target); err != nil {
		return err
	}
	return fn(ctx, target)
}

var (
	valueType  = reflect.TypeFor[Value]()
	secretType = reflect.TypeFor[Secret]()
)

func collect(v reflect.Value, fields []field) ([]field, error) {
	for i := range v.NumField() {
		sf, fv := v.Type().Field(i), v.Field(i)
		tag, tagged := sf.Tag.Lookup("hexr")
		if !tagged {
			if fv.Kind() == reflect.Struct && sf.IsExported() && fv.Type() != secretType {
				var err error
				if fields, err = collect(fv, fields); err != nil {
					return nil, err
				}
			}
			continue
		}
		path, option, _ := strings.Cut(tag, ",")
		switch {
		case !fv.CanSet():
			return nil, fmt.Errorf("%w: field %s has a tag and is not exported", ErrInvalid, sf.Name)
		case path == "" || option != "" && option != "optional":
			return nil, fmt.Errorf("%w: field %s: use `hexr:\"PATH\"` or `hexr:\"PATH,optional\"`", ErrInvalid, sf.Name)
		case !injectable(fv.Type()):
			return nil, fmt.Errorf("%w: field %s: use client.Value, client.Secret, string or []byte", ErrInvalid, sf.Name)
		}
		fields = append(fields, field{path, option == "optional", fv})
	}
	return fields, nil
}

func injectable(t reflect.Type) bool {
	return t == valueType || t == secretType || t.Kind() == reflect.String ||
		t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

func (f field) set(s Secret) {
	switch {
	case f.value.Type() == valueType:
		f.value.Set(reflect.ValueOf(s.Value))
	case f.value.Type() == secretType:
		f.value.Set(reflect.ValueOf(s))
	case f.value.Kind() == reflect.String:
		f.value.SetString(s.Text())
	default:
		f.value.SetBytes(s.Reveal())
	}
}
