#!/bin/sh
# Mutation check: puts each deliberate bug (jepsen/mutants/*.patch) into a copy of
# the committed tree, and has the suite look for it with the flags that the patch
# names. The suite itself is the committed one. It must find nothing in the tree as
# it is, and every bug, within RUNS runs of RUN each.
#
#     jepsen/mutants.sh [NAME...]     needs root: it mounts file systems
set -eu
cd "$(dirname "$0")/.."
GO=${GO:-go} SEED=${SEED:-1} RUN=${RUN:-30s} RUNS=${RUNS:-4} OUT=${OUT:-jepsen-out/mutants}
if [ "$(id -u)" != 0 ] || [ ! -e /dev/fuse ]; then
	echo "mutants: run it as root, with /dev/fuse: bugs of syncs show on a disk of the suite alone"
	exit 1
fi
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar x -C "$copy"
patches=$PWD/jepsen/mutants
cd "$copy"

build() { $GO build -tags hexrdfault -o "$copy/hexrd" ./cmd/hexrd; }

# look NAME FLAGS: run by run until something is found. 0: it was, 1: it was not.
look() {
	name=$1
	shift
	run=1
	while [ $run -le "$RUNS" ]; do
		if "$copy/suite" -bin "$copy/hexrd" -out "$OUT/$name" -seed "$SEED" -from $run -runs 1 -run "$RUN" "$@" > "$OUT/$name.txt" 2>&1; then
			run=$((run + 1))
		elif grep -q "the campaign found something" "$OUT/$name.txt"; then
			return 0
		else
			cat "$OUT/$name.txt"
			echo "$name: the suite could not be run"
			exit 1
		fi
	done
	return 1
}

[ $# -gt 0 ] || set -- $(cd "$patches" && ls *.patch | sed 's/\.patch$//')
for name; do
	if ! patch --dry-run -s -p1 < "$patches/$name.patch" > "$copy/out" 2>&1; then
		cat "$copy/out"
		echo "$name: the patch does not apply any more: make it anew for what the code is now"
		exit 1
	fi
done
$GO build -o "$copy/suite" ./jepsen
build
(cd "$patches" && for name; do sed -n 's/^Flags: //p' "$name.patch"; done) | sort -u > "$copy/flags"
n=0
while read -r flags; do
	n=$((n + 1))
	# shellcheck disable=SC2086 # flags are several words
	if look "none-$n" $flags < /dev/null; then
		cat "$OUT/none-$n.txt"
		echo "none: the suite finds something in the tree as it is, with $flags"
		exit 1
	fi
	echo "none: nothing found in $RUNS runs with $flags"
done < "$copy/flags"
failed=0
for name; do
	patch -s -p1 < "$patches/$name.patch"
	build
	begin=$(date +%s)
	# shellcheck disable=SC2046
	if look "$name" $(sed -n 's/^Flags: //p' "$patches/$name.patch"); then
		echo "$name: caught after $(($(date +%s) - begin)) s: $(sed -n 's/^  \([a-z]*: .*\)/\1/p' "$OUT/$name.txt" | head -1 | cut -c1-160)"
	else
		echo "$name: SURVIVED $RUNS runs"
		failed=1
	fi
	patch -s -R -p1 < "$patches/$name.patch"
done
exit $failed
