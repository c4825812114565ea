#!/usr/bin/env bash
# Fuzzes every fuzz target of the module for FUZZTIME (default 1m) each.
set -eu
cd "$(dirname "$0")"
for pkg in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "$pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-1m}" "$pkg"
	done
done
