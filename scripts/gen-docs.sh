#!/usr/bin/env bash
# Writes the generated pages of docs/; with --check, fails if they differ from what the code prints, or if the
# README names a test that does not exist.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
out=docs
if [ "${1:-}" = --check ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
fi
for page in environment functions; do
    cargo run -q --example print-docs -- "$page" >"$out/$page.md"
done
cargo run -q --example print-docs -- functions.tsv >"$out/functions.tsv"
python3 scripts/operators-page.py "$(venv "$TORCH_DEFAULT")" "$(venv "$TORCH_NEXT")" >"$out/operators.md"
if [ "$out" != docs ]; then
    for page in environment.md functions.md functions.tsv operators.md; do
        diff -u "docs/$page" "$out/$page" || die "docs/$page is out of date: run scripts/gen-docs.sh"
    done
    grep -oE '`[a-z0-9_]+`<!--test-->' README.md | tr -d '`' | sed 's/<!--test-->//' | while read -r name; do
        grep -rqE "(fn|def) $name\b" shim-tests src || die "README names the test $name, which does not exist"
    done
    say "generated documentation is up to date"
fi
