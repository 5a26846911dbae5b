#!/usr/bin/env bash
# Builds reap and runs its tests; installs what is missing first.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'TEXT'
usage: tests/run.sh [--long] [ctest options]
       tests/run.sh --fuzz SECONDS [READER ...]

Builds reap in build/ and runs its tests. What is missing is installed first (Debian, as root or with sudo).

  --long          more of everything, half an hour or so: REAP_TEST_LONG=1 for the tests that have a long form, the ONNX
                  project's own backend tests (fetches onnx 1.16.2), the job scripts on a real Slurm, started on this machine
                  (installs slurm-wlm and munge), links cut between three hosts (network namespaces, as root), the
                  commands of README.md, a build with MPICH (installs it beside Open MPI)
  --fuzz SECONDS  instead of the tests: each reader of files that many seconds under libFuzzer and the sanitizers (installs clang);
                  READER is onnx, model, images, stats, activations, paths, sweep, plan or latency. What is found, and the bytes
                  that show it, stay in build/fuzz
  -h, --help      this text

All other options go to ctest:
  -R solver       only the tests whose names match
  -N              lists the tests
  --rerun-failed  those that failed last time
TEXT
}

long= fuzz=
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) usage; exit 0 ;;
    --fuzz)
      fuzz=${2:-}
      case $fuzz in "" | *[!0-9]*) echo "tests/run.sh: --fuzz wants a number of seconds for each reader" >&2; exit 2 ;; esac
      shift 2 ;;
    --long) long=1; export REAP_TEST_LONG=1; shift ;;
    *) break ;;
  esac
done
. "$here/../jobs/setup.sh"
if [ -n "$fuzz" ]; then
  reap_setup libcunit1-dev python3-numpy python3-h5py
  reap_install "${reap_fuzz_packages[@]}" || reap_say "Another clang with its fuzzer's runtime will do, if there is one."
  exec bash "$here/fuzz.sh" "$reap_build" "$fuzz" "$@"
fi
# The Python modules serve tests of scripts and files; where they are missing those tests say that they are skipped.
reap_setup libcunit1-dev hdf5-tools clang-format python3-venv python3-numpy python3-h5py python3-pil python3-onnx \
  python3-pandas python3-matplotlib

# onnxruntime judges what reap writes, and the onnx package brings tests of its own. Neither is in Debian in a form that serves: a
# Python environment of the build folder's own has both, if it can be fetched; else the tests that need it say that they are skipped.
reap_python_environment() {
  local venv=$reap_build/venv any='import onnx, onnxruntime, h5py, numpy' wanted patience=60
  wanted=$any
  if [ -n "$long" ]; then wanted="$any; assert onnx.__version__ == \"1.16.2\"" patience=600; fi
  if /usr/bin/python3 -c "$wanted" 2>/dev/null; then return; fi
  if "$venv/bin/python" -c "$wanted" 2>/dev/null; then return; fi
  reap_say "Fetching onnx and onnxruntime for some tests ..."
  # The version that the backend tests are of; another serves the rest where Python is too new for it.
  timeout "$patience" bash -c '
    fetch=("$1/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 10 --only-binary onnx)
    python3 -m venv "$1" && { "${fetch[@]}" onnx==1.16.2 onnxruntime h5py numpy || "${fetch[@]}" onnx onnxruntime h5py numpy; } &&
      "${fetch[@]}" jsonschema
    ' bash "$venv" >"$reap_build/venv.log" 2>&1 || {
    reap_say "SKIPPED tests that need onnxruntime or onnx 1.16.2: they cannot be fetched (see $reap_build/venv.log)"
    "$venv/bin/python" -c "$any" 2>/dev/null || rm -rf "$venv"
  }
}
reap_python_environment
cd "$reap_build"
failed=0
ctest --output-on-failure -j "$(reap_cores)" "$@" || failed=$?
if [ -n "$long" ]; then
  bash "$here/slurm.sh" "$reap_build/reap" || failed=1
  bash "$here/links.sh" "$reap_build/reap" || failed=1
  bash "$here/readme.sh" "$reap_build/reap" "$reap_build/scratch/readme" "$reap_build/venv" || failed=1
  bash "$here/mpich.sh" "$reap_build/reap" || failed=1
fi
exit $failed
