#!/usr/bin/env bash
# Fuzzes every fuzz target of the module for FUZZTIME (default 1m) each, two at a
# time. What it finds interesting is kept in Go's cache; what fails lies in
# testdata/fuzz of its package, as a test from then on. A pattern as first
# argument takes the targets whose names it is in. FUZZBUILD=plain builds without
# instrumentation, which saves minutes and finds less: for a few seconds each.
set -eu
cd "$(dirname "$0")"
build=-fuzz=Fuzz
[ "${FUZZBUILD:-}" != plain ] || build=-fuzz=
bin=$PWD/bin/fuzz cache=$(go env GOCACHE)/fuzz
mkdir -p "$bin"
rm -f "$bin"/*

run() { # package's directory, its binary, a target
	local log="$2.$3.log"
	if (cd "$1" && "$2" -test.run '^$' -test.fuzz "^$3\$" -test.fuzztime "${FUZZTIME:-1m}" -test.fuzzminimizetime 10s \
		-test.parallel 1 -test.fuzzcachedir "$cache/$4") >"$log" 2>&1; then
		echo "ok    $4 $3 $(grep -o 'execs: [0-9]*' "$log" | tail -1)"
	else
		cat "$log"
		echo "FAIL  $4 $3"
		return 1
	fi
}

failed=0
for pkg in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
	targets=$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$pkg"/*_test.go | grep -e "${1:-Fuzz}" || true)
	[ -n "$targets" ] || continue
	name=$(go list "$pkg")
	go test -c "$build" -o "$bin/${name##*/}.test" "$pkg"
	for target in $targets; do
		run "$pkg" "$bin/${name##*/}.test" "$target" "$name" &
		while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
			wait -n || failed=1
		done
	done
done
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do
	wait -n || failed=1
done
exit "$failed"
