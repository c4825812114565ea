package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// output shows results: tables for people, or JSON, an object a line, with the
// names of the API.
type output struct {
	w    io.Writer
	json bool
}

func outputOf(cmd *cobra.Command) (output, error) {
	switch o := cmd.Flag("output").Value.String(); o {
	case "human":
		return output{cmd.OutOrStdout(), false}, nil
	case "json":
		return output{cmd.OutOrStdout(), true}, nil
	default:
		return output{}, usageError(fmt.Errorf("--output %q: use human or json", o))
	}
}

// one shows a message, or the line that people read.
func (o output) one(m proto.Message, format string, args ...any) error {
	if o.json {
		return o.object(hexrv1.ToJSON(m))
	}
	_, err := fmt.Fprintf(o.w, format+"\n", args...)
	return err
}

func (o output) object(v any) error { return json.NewEncoder(o.w).Encode(v) }

// table shows rows under a head. Rows are shown as they come in JSON, and
// aligned at the end for people.
type table struct {
	o  output
	tw *tabwriter.Writer
}

func (o output) table(head string) *table {
	t := &table{o: o, tw: tabwriter.NewWriter(o.w, 0, 0, 2, ' ', 0)}
	if !o.json {
		_, _ = fmt.Fprintln(t.tw, head)
	}
	return t
}

func (t *table) row(m proto.Message, columns ...any) error {
	if t.o.json {
		return t.o.object(hexrv1.ToJSON(m))
	}
	for i, c := range columns {
		if i > 0 {
			_, _ = fmt.Fprint(t.tw, "\t")
		}
		_, _ = fmt.Fprint(t.tw, c)
	}
	_, err := fmt.Fprintln(t.tw)
	return err
}

func (t *table) end() error { return t.tw.Flush() }

// pairs shows a map, in the order of its names.
func (o output) pairs(m map[string]string) error {
	if o.json {
		return o.object(m)
	}
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	tw := tabwriter.NewWriter(o.w, 0, 0, 2, ' ', 0)
	for _, n := range names {
		_, _ = fmt.Fprintf(tw, "%s\t%s\n", n, m[n])
	}
	return tw.Flush()
}

// when shows a time to people; "-" where there is none.
func when(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Local().Format(time.DateTime)
}
