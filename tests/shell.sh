# What the tests of the program in shell share, to be sourced. `program` and `ranks` are set by then. A run leaves `status`, and
# out.txt and err.txt in `said`, which is the present folder.
set -uo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fashion=$source/datasets/fashion
vgg=$fashion/vgg-fashion.onnx resnet=$fashion/resnet-fashion.onnx
said=.
failures=0 checks=0
launch=(mpirun -n "$ranks")
[ "$ranks" = 1 ] && launch=() # starting it takes most of the time

fresh() { # FOLDER: empty, and the present one
  rm -rf "$1"
  mkdir -p "$1"
  cd "$1" || exit 1
}

fail() { # WHAT
  failures=$((failures + 1))
  printf 'FAILED: %s\n' "$*"
  sed 's/^/    /' "$said/out.txt" "$said/err.txt" 2>/dev/null | head -n 8
}

check() { # WHAT COMMAND...: the command has to succeed
  checks=$((checks + 1))
  local what=$1
  shift
  "$@" || fail "$what"
}

# run ARGS...: mpirun's own banners are taken out of err.txt, what hwloc says where there is no /sys, and that there are more ranks
# than cores, which is meant.
run() {
  status=0
  timeout 300 "${launch[@]}" "$program" "$@" >"$said/out.txt" 2>"$said/err.raw" || status=$?
  sed -e '/^-----/,/^-----/d' -e '/^\[hwloc/d' -e '/^reap: warning: .* on a node with [0-9]* core/d' "$said/err.raw" >"$said/err.txt"
}

works() { # ARGS...
  run "$@"
  checks=$((checks + 1))
  [ "$status" = 0 ] || { fail "status $status: $*"; return 1; }
}

says() { # "WORDS": on standard error
  check "it does not say: $1" grep -qF -- "$1" "$said/err.txt"
}

# Sets `python` to the first of these that has the modules, or to nothing.
find_python() { # "MODULE, ..." PYTHON...
  local modules=$1
  shift
  for python in "$@"; do
    command -v "$python" >/dev/null && "$python" -c "import $modules" 2>/dev/null && return
  done
  python=
}

finish() {
  echo "$checks checks on $ranks ranks, $failures failed"
  exit $((failures > 0))
}
