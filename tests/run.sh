#!/usr/bin/env bash
# Builds reap and runs its tests; installs what is missing first. Options are passed on to ctest (e.g. -R solver).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case "${1:-}" in
  -h|--help)
    echo "usage: tests/run.sh [ctest options]   (e.g. -R comm, --output-on-failure)"
    exit 0 ;;
esac
. "$here/../jobs/setup.sh"
reap_setup libcunit1-dev hdf5-tools
cd "$reap_build"
ctest --output-on-failure "$@"
