#!/usr/bin/env bash
# Builds reap and runs its tests; installs what is missing first. Options are passed on to ctest (e.g. -R solver).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
long=
case "${1:-}" in
  -h|--help)
    echo "usage: tests/run.sh [--long] [ctest options]   (e.g. -R comm, --output-on-failure)"
    echo "  --long    also the job scripts on a real Slurm, started on this machine (a few minutes; installs slurm-wlm and munge)"
    exit 0 ;;
  --long)
    long=1
    shift ;;
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
failed=0
ctest --output-on-failure "$@" || failed=$?
if [ -n "$long" ]; then bash "$here/slurm.sh" "$reap_build/reap" || failed=1; fi
exit $failed
