package model

import (
	"testing"

	"github.com/hexrdev/hexrd/jepsen/history"
)

func number(n uint64) *uint64 { return &n }

func TestStep(t *testing.T) {
	live, gone := Secret{Version: 3, Value: "v"}, Secret{Version: 3, Value: "v", Deleted: true}
	for what, c := range map[string]struct {
		from Secret
		o    history.Op
		to   Secret
		ok   bool
	}{
		"get":                     {live, history.Op{Kind: "get", Outcome: history.OK, Got: "v", Version: 3}, live, true},
		"get, another value":      {live, history.Op{Kind: "get", Outcome: history.OK, Got: "w", Version: 3}, live, false},
		"get, another version":    {live, history.Op{Kind: "get", Outcome: history.OK, Got: "v", Version: 2}, live, false},
		"get of nothing":          {Secret{}, history.Op{Kind: "get", Outcome: history.NotFound}, Secret{}, true},
		"get of what is deleted":  {gone, history.Op{Kind: "get", Outcome: history.OK, Got: "v", Version: 3}, gone, false},
		"a miss of what is there": {live, history.Op{Kind: "get", Outcome: history.NotFound}, live, false},
		"put":                     {live, history.Op{Kind: "put", Value: "w", Outcome: history.OK, Version: 4}, Secret{Version: 4, Value: "w"}, true},
		"put, version twice":      {live, history.Op{Kind: "put", Value: "w", Outcome: history.OK, Version: 3}, Secret{Version: 4, Value: "w"}, false},
		"put after a delete":      {gone, history.Op{Kind: "put", Value: "w", Outcome: history.OK, Version: 4}, Secret{Version: 4, Value: "w"}, true},
		"unknown put":             {live, history.Op{Kind: "put", Value: "w", Outcome: history.Unknown}, Secret{Version: 4, Value: "w"}, true},
		"compare":                 {live, history.Op{Kind: "put", Value: "w", Expected: number(3), Outcome: history.OK, Version: 4}, Secret{Version: 4, Value: "w"}, true},
		"compare, conflict":       {live, history.Op{Kind: "put", Value: "w", Expected: number(2), Outcome: history.Conflict}, live, true},
		"a conflict for nothing":  {live, history.Op{Kind: "put", Value: "w", Expected: number(3), Outcome: history.Conflict}, Secret{Version: 4, Value: "w"}, false},
		"unknown compare":         {live, history.Op{Kind: "put", Value: "w", Expected: number(2), Outcome: history.Unknown}, live, true},
		"compare with none":       {gone, history.Op{Kind: "put", Value: "w", Expected: number(0), Outcome: history.OK, Version: 4}, Secret{Version: 4, Value: "w"}, true},
		"delete":                  {live, history.Op{Kind: "delete", Outcome: history.OK, Version: 3}, gone, true},
		"delete twice":            {gone, history.Op{Kind: "delete", Outcome: history.OK, Version: 3}, gone, false},
		"undelete":                {gone, history.Op{Kind: "undelete", Outcome: history.OK, Version: 3}, live, true},
		"undelete of a live one":  {live, history.Op{Kind: "undelete", Outcome: history.Conflict}, live, true},
		"undelete of nothing":     {Secret{}, history.Op{Kind: "undelete", Outcome: history.NotFound}, Secret{}, true},
	} {
		to, ok := c.from.Step(&c.o)
		if to != c.to || ok != c.ok {
			t.Errorf("%s: %s, %t; not %s, %t", what, to, ok, c.to, c.ok)
		}
	}
}
