#!/usr/bin/env bash
# The library as installed: symbols, headers in C and C++, and small programs (tests/library) built against it.
#
#   test_library.sh BUILD SCRATCH
set -uo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(realpath "$1") fashion=$here/../datasets/fashion
network=$fashion/vgg-fashion.onnx images=$fashion/fashion-calib.h5
rm -rf "$2"
mkdir -p "$2"
cd "$2" || exit 1
failures=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  "$@" >out.txt 2>err.txt && return
  failures=$((failures + 1))
  printf 'FAILED: %s\n' "$what"
  tail -n 12 out.txt err.txt | sed 's/^/    /'
}
installed=$PWD/installed
check "the installation" cmake --install "$build" --prefix "$installed"
lib=$(dirname "$(find "$installed" -name libreap.a)")

# ------------------------------------------------------------------ manual pages and completion

man=$installed/share/man/man1 script=$installed/share/bash-completion/completions/reap
pages() { # those that there should be: of the program and of all commands that it lists
  echo reap.1
  "$installed/bin/reap" help | awk '$1 == "reap" && $2 ~ /^[a-z]+$/ && $2 != "help" {
    print $2 == "bench" ? "reap-bench-layers.1\nreap-bench-solve.1" : "reap-" $2 ".1" }'
}
check "a page for each command" eval 'diff <(pages | LC_ALL=C sort) <(ls "$man" | LC_ALL=C sort)'
if command -v groff >/dev/null; then
  check "groff takes all pages" eval '[ -z "$(groff -man -ww -z "$man"/*.1 2>&1)" ]'
  plain() { groff -man -Tascii "$1" | sed 's/.\x08//g; s/\x1b\[[0-9;]*m//g' | tr -s ' '; }
  whole() { sed -e ':more' -e '/|$/{N;s/\n *//;b more' -e '}'; } # lists of choices go on in the next line
  plain "$man/reap-prune.1" | whole >page.txt
  "$installed/bin/reap" prune --help | whole | grep -o '^  \(-., \)\?--[a-z-]*.*' | sed 's/   .*//; s/^  //' >options.txt
  all_options() { # of the help, with their arguments, in the page
    local option
    [ "$(wc -l <options.txt)" -gt 30 ] || return 1
    while IFS= read -r option; do grep -qF -- " $option" page.txt || { echo "$option is missing"; return 1; }; done <options.txt
  }
  check "the page of prune has all options" all_options
else
  echo "SKIPPED: the look of manual pages, there is no groff"
fi
check "no page on what is no command" eval '! "$installed/bin/reap" print-man nosuch'

# completes "WORD ..." "REPLY ...": what bash offers for the last word.
completes() {
  checked=$1 wanted=$2
  check "completion of \"reap $1\"" bash -c '
    . "$1"
    read -ra COMP_WORDS <<<"reap $2"
    case $2 in *" ") COMP_WORDS+=("") ;; esac
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _reap
    said=$(printf "%s\n" "${COMPREPLY[@]}" | LC_ALL=C sort | tr "\n" " ")
    [ "$said" = "$3" ] || { echo "it is: $said"; exit 1; }' bash "$script" "$checked" "$wanted"
}
mkdir -p complete/photos
touch complete/images.h5 complete/net.onnx "complete/a b.h5"
cd complete || exit 1
completes "pr" "prune "
completes "prune --me" "--measure --memory --method "
completes "prune net.onnx --method l" "l1 l1-filter l2 l2-filter "
completes "prune --method = l1-" "l1-filter "
completes "prune --calib " "a b.h5 images.h5 photos "
completes "prune -o im" "images.h5 "
completes "prune --scratch " "photos "
completes "prune --keep " " "
completes "prune n" "net.onnx "
completes "sweep --method r" "random reap reap-post "
completes "bench l" "layers "
completes "bench solve --ro" "--route "
completes "help ev" "eval "
completes "help bench s" "solve "
cd ..

# ------------------------------------------------------------------ symbols

others() { # nm's options and library: global symbols that do not begin with reap_
  local all
  all=$(nm --defined-only --extern-only "$@" 2>/dev/null | awk 'NF >= 3 { print $NF }')
  [ "$(wc -l <<<"$all")" -gt 100 ] || { echo "nm $* tells next to nothing"; return 1; }
  ! grep -v '^reap_' <<<"$all"
}
check "symbols of libreap.so" others -D "$lib/libreap.so"
check "symbols of libreap.a" others "$lib/libreap.a"
check "the check of symbols can fail" eval '! others "$build/libreap_app.a"'
has() { nm --defined-only --extern-only "$@" 2>/dev/null | grep ' reap_h5_open$'; } # an inner call
check "inner calls stay within libreap.so" eval 'has "$lib/libreap.a" && ! has -D "$lib/libreap.so"'
check "the soname" eval 'readelf -d "$lib/libreap.so" | grep -q "SONAME.*libreap\.so\.[0-9]*\.[0-9]*\]"'

# ------------------------------------------------------------------ headers

mpicc=${MPICC:-mpicc}
printf '#include <reap.h>\nint main(void) { return reap_comm_live(); }\n' >all.c
cp all.c all.cpp
check "reap.h in C" "$mpicc" -std=c11 -pedantic -Wall -Wextra -Werror -I"$installed/include" all.c -L"$lib" -lreap -Wl,-rpath,"$lib" -o all
check "a program of all headers" ./all
if command -v c++ >/dev/null; then
  flags=$("$mpicc" --showme:compile 2>/dev/null)
  check "reap.h in C++" c++ -std=c++11 -pedantic -Wall -Wextra -Werror -DOMPI_SKIP_MPICXX $flags -I"$installed/include" -c all.cpp
  check "C names in C++" eval 'nm all.o | grep -q "U reap_comm_live$"'
else
  echo "SKIPPED: reap.h in C++, there is no C++ compiler"
fi
for header in "$installed"/include/reap/*.h; do # each by itself
  printf '#include "reap/%s"\nint main(void) { return 0; }\n' "$(basename "$header")" >one.c
  check "$(basename "$header") by itself" "$mpicc" -std=c11 -fsyntax-only -Wall -Wextra -Werror -I"$installed/include" one.c
done

# ------------------------------------------------------------------ programs

check "the programs' configuration" cmake -S "$here/library" -B programs -DCMAKE_PREFIX_PATH="$installed"
check "the programs" cmake --build programs -j 2
export PKG_CONFIG_PATH=$lib/pkgconfig
check "a program by pkg-config" eval '"$mpicc" "$here/library/solve.c" $(pkg-config --cflags --libs reap) -o solve_pc'
check "the version by pkg-config" [ "$(pkg-config --modversion reap)" = "$("$installed/bin/reap" --version | sed -n 's/^reap \([0-9.]*\).*/\1/p')" ]

reap() { "$installed/bin/reap" "$@" --progress none --log-level quiet; }
few=(--images 60 --positions 4)
check "reap stats" reap stats "$network" --calib "$images" "${few[@]}" -o stats.h5
check "reap solve" reap solve stats.h5 --keep 0.5 -o path.h5
sed 's/  *(local)//; s/  */ /g' out.txt >solved.txt
same_errors() { # NAME CHANNELS -> KEPT relative error E, twice in a line; energies are 1, so rounding leaves 1e-12
  awk '{ d = $7 - $14; for (i = 1; i < 7; i++) if ($i != $(i + 7)) exit 1 } d < -1e-12 || d > 1e-12 { exit 1 }'
}
for program in programs/solve programs/solve_static; do
  check "$program" "$program" stats.h5
  cp out.txt own.txt
  check "$program solves as reap solve does" eval 'paste -d" " own.txt solved.txt | same_errors'
done
check "seven layers solved" [ "$(wc -l <solved.txt)" = 7 ]
check "an error in a program" eval 'LD_LIBRARY_PATH=$lib ./solve_pc none.h5; [ $? = 3 ] && grep -q "^none.h5: " err.txt'

check "reap prune" reap prune "$network" --calib "$images" "${few[@]}" --keep 0.5 --onnx wanted.onnx
for ranks in 1 2; do
  check "prune on $ranks ranks" mpirun -n $ranks programs/prune "$network" "$images" small.onnx
  cp out.txt said.txt
  check "nothing is written past the program on $ranks ranks" eval '! grep "^reap: " err.txt'
  check "prune on $ranks ranks prunes as reap prune does" python3 -B "$here/same_network.py" small.onnx wanted.onnx
  check "prune on $ranks ranks: only its own progress and messages" eval 'grep -q "^prune .*100 %$" said.txt && ! grep -vE "^(prune .* %|warning: .*)$" said.txt'
done

runs_job() { PATH=$installed/bin:$PATH REAP_LAUNCH="mpirun -n 1" bash "$installed/share/reap/jobs/prune.sbatch" "$@" --progress none; }
check "an installed job script finds the installed program" runs_job "$network" --calib "$images" "${few[@]}" --keep 0.5 --onnx job.onnx
check "the job script prunes as reap prune does" cmp job.onnx wanted.onnx

check "method" programs/method "$network" "$images"
cp out.txt kept.txt
check "seven groups by a method of one's own" [ "$(wc -l <kept.txt)" = 7 ]
cat >norms.py <<'PY'
import sys
import numpy
import onnx
from onnx import numpy_helper

model = onnx.load(sys.argv[1])
tensors = {t.name: numpy_helper.to_array(t).astype(float) for t in model.graph.initializer}
layers = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
for line in open("kept.txt"):
    group, *kept = line.split()
    at = next(i for i, n in enumerate(layers) if n.name.strip("/").replace("/", ".") == group)
    weights = tensors[layers[at + 1].input[1]]  # of the layer that reads the group
    norms = (weights.reshape(len(weights), len(tensors[layers[at].input[1]]), -1) ** 2).sum(axis=(0, 2))
    wanted = sorted(numpy.argsort(-norms)[: len(kept)])
    assert [int(k) for k in kept] == wanted, (group, wanted)
PY
python=/usr/bin/python3
if "$python" -c 'import onnx' 2>/dev/null; then
  check "the channels with the largest norms are kept" "$python" -B norms.py "$network"
else
  echo "SKIPPED: which channels have the largest norms, there is no Python module onnx"
fi
[ "$failures" = 0 ] && echo "the library serves programs of one's own"
exit $((failures > 0))
