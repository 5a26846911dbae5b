#!/usr/bin/env bash
# Every C file has the form that .clang-format describes. clang-format 14 decides: other versions break lines elsewhere.
#
#   test_format.sh          names the files that differ; exit status 77 without clang-format 14
#   test_format.sh --fix    formats them
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
format=
for name in clang-format-14 clang-format; do
  if [ -z "$format" ] && "$name" --version 2>/dev/null | grep -q 'version 14\.'; then format=$name; fi
done
[ -n "$format" ] || { echo "SKIPPED: there is no clang-format 14"; exit 77; }
mapfile -t files < <(find src include tests -name '*.[ch]' | sort)
if [ "${1:-}" = --fix ]; then exec "$format" -i "${files[@]}"; fi
different=$("$format" --dry-run "${files[@]}" 2>&1 | sed -n 's/:[0-9]*:[0-9]*: warning: .*//p' | sort -u)
[ -z "$different" ] && { echo "${#files[@]} files have their form"; exit 0; }
echo "$different"
echo "these files do not have the form of .clang-format; tests/test_format.sh --fix formats them"
exit 1
