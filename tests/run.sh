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
# The Python modules serve tests of scripts and files; where they are missing those tests say that they are skipped.
reap_setup libcunit1-dev hdf5-tools python3-venv python3-numpy python3-h5py python3-pil python3-onnx \
  python3-pandas python3-matplotlib

# onnxruntime judges what reap writes. It is not in Debian: a Python environment of the build folder's own has it, if it can be
# fetched; else the test that needs it says that it is skipped.
reap_python_environment() {
  local venv=$reap_build/venv
  if /usr/bin/python3 -c 'import onnx, onnxruntime, h5py, numpy' 2>/dev/null; then return; fi
  if "$venv/bin/python" -c 'import onnx, onnxruntime, h5py, numpy' 2>/dev/null; then return; fi
  rm -rf "$venv"
  reap_say "Fetching onnx and onnxruntime for a test ..."
  timeout 60 bash -c 'python3 -m venv "$1" && "$1/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 10 \
    onnx onnxruntime h5py numpy' bash "$venv" >"$reap_build/venv.log" 2>&1 || {
    reap_say "SKIPPED the comparison with onnxruntime: it cannot be fetched (see $reap_build/venv.log)"
    rm -rf "$venv"
  }
}
reap_python_environment
cd "$reap_build"
ctest --output-on-failure "$@"
