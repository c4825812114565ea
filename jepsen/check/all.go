package check

// All runs every checker of histories. Pictures go to dir.
func All(e *Evidence, dir string) []Result {
	return []Result{Answers(e), Settled(e), Audit(e), Order(e), Replay(e), Register(e, dir), Versions(e), List(e), Scope(e)}
}
