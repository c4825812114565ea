#!/bin/sh
# Takes the mitigation of each known bug (jepsen/known/*.patch) out of a copy of
# the committed tree. Its test must pass before, and fail after.
set -eu
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar x -C "$copy"
failed=0
for patch in "$PWD"/jepsen/known/*.patch; do
	name=$(basename "$patch" .patch)
	set -- $(sed -n 's/^Test: //p' "$patch") # package, test
	if ! (cd "$copy" && ${GO:-go} test -count=1 -timeout 90s -run "^$2\$" "$1") > "$copy/out" 2>&1; then
		cat "$copy/out"
		echo "$name: $2 does not pass with the mitigation in"
		failed=1
		continue
	fi
	(cd "$copy" && patch -s -p1 < "$patch")
	if (cd "$copy" && ${GO:-go} test -count=1 -timeout 90s -run "^$2\$" "$1") > "$copy/out" 2>&1; then
		echo "$name: $2 passes without the mitigation: it shows nothing"
		failed=1
	elif grep -q "build failed\|setup failed" "$copy/out"; then
		cat "$copy/out"
		failed=1
	else
		echo "$name: $2 passes with the mitigation, and fails without"
	fi
	(cd "$copy" && patch -s -R -p1 < "$patch")
done
exit $failed
