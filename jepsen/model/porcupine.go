package model

import (
	"fmt"

	"github.com/anishathalye/porcupine"

	"github.com/hexrdev/hexrd/jepsen/history"
)

// Register is the model of one secret; its operations' inputs are *history.Op,
// and it looks at no outputs. Which secret that is, the partition says.
func Register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return Secret{} },
		Step: func(state, input, _ any) (bool, any) {
			next, ok := state.(Secret).Step(input.(*history.Op))
			return ok, next
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(input, _ any) string { return describe(input.(*history.Op)) },
		DescribeState:     func(state any) string { return state.(Secret).String() },
	}
}

func describe(o *history.Op) string {
	what := o.Kind
	switch {
	case o.Expected != nil:
		what += fmt.Sprintf(" %s if v%d", o.Value, *o.Expected)
	case o.Kind == history.Put:
		what += " " + o.Value
	}
	switch {
	case o.Outcome == history.OK && o.Kind == history.Get:
		what += fmt.Sprintf(" = v%d %s", o.Version, o.Got)
	case o.Outcome == history.OK:
		what += fmt.Sprintf(" = v%d", o.Version)
	default:
		what += " = " + string(o.Outcome)
	}
	return fmt.Sprintf("%s (op %d, %s)", what, o.ID, o.Node)
}
