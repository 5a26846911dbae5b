#!/usr/bin/env bash
# Commands of README.md run as they are printed: with a small network and few images under the names that stand there, in a folder
# with the project's folders and the build beside them. A command that this script does not know is a failure: say here how it is run.
#
#   tests/readme.sh PROGRAM SCRATCH [VENV]    PROGRAM in the build folder, or installed (PREFIX/bin/reap)
#
# Run elsewhere: jobs/quickstart.sh and tests/run.sh, sbatch (tests/slurm.sh). With REAP_TORCH_PYTHON=PYTHON the
# export from PyTorch is run too. Works as any user who may write to SCRATCH.
program=$(realpath "$1") ranks=1 venv=${3:-}
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
fresh "$2"
said=$PWD
page=$source/README.md
skipped=()

for folder in analysis datasets jobs; do ln -s "$source/$folder" .; done
mkdir -p build/quickstart
for file in "$(dirname "$program")"/*; do ln -s "$file" build/; done
ln -s "$vgg" model.onnx
find_python "h5py, numpy" "$venv/bin/python" python3 /usr/bin/python3
[ -n "$python" ] || { echo "SKIPPED: no Python with h5py"; exit 77; }
"$python" - "$fashion" <<'PYTHON' || exit 1
import sys
import h5py
for name, images in (("calib", 200), ("test", 100)):
    with h5py.File("%s/fashion-%s.h5" % (sys.argv[1], name)) as source, h5py.File(name + ".h5", "w") as out:
        for key, value in source.attrs.items():
            out.attrs[key] = value
        for key, data in source.items():
            out[key] = data[:images]
            for name_of, value in data.attrs.items():
                out[key].attrs[name_of] = value
PYTHON

# ------------------------------------------------------------------ what is printed

# Blocks of commands (indented by four characters, continued by a backslash or further indentation), and those within sentences, a line
# each, in their order.
commands() {
  awk '
    function flush() { if (line != "") print line; line = "" }
    /^    / {
      text = $0
      sub(/^ +/, "", text)
      sub(/ +# .*/, "", text)
      if (line != "" && /^        /) { line = line " " text }
      else { flush(); if (text ~ /^(\$ )?(mpirun|build\/|reap |jobs\/|tests\/|datasets\/|analysis\/|sbatch|cmake)/) line = text }
      sub(/\\$/, "", line)
      next
    }
    { flush(); prose = prose " " $0 }
    END {
      flush()
      count = split(prose, spans, "`")
      for (i = 2; i <= count; i += 2) {
        gsub(/ +/, " ", spans[i])
        if (spans[i] ~ /^reap [a-z]+$/ && spans[i] != "reap help") continue # the name of a command
        if (spans[i] ~ /^(build\/reap|reap|man|cmake|datasets\/[a-z_]*\.py|analysis\/[a-z_]*\.py|jobs\/[a-z_]*\.sh) /) print spans[i]
      }
    }' "$page" | sed 's/^\$ //; s/  */ /g; s/ $//'
}

# A Python that has what a script needs, in front of it; nothing where there is none.
by_python() { # "MODULES" COMMAND
  find_python "$1" "$venv/bin/python" python3 /usr/bin/python3
  [ -n "$python" ] && echo "$python $2"
}

# How a command of the page is run here; nothing: not.
command_line() {
  local reap="build/reap"
  [ -e build/CMakeCache.txt ] || reap=reap
  case "$1" in
    jobs/quickstart.sh | tests/run.sh | sbatch\ *) ;;
    *build/quickstart/resnet.onnx*) echo "${1/build\/reap/$reap} --images 200" ;;
    analysis/html_report.py*) by_python "h5py, pandas, matplotlib" "$1" ;;
    analysis/latency.py*) by_python "onnxruntime, numpy" "$1" ;;
    datasets/convert.py\ photos*) by_python "h5py, numpy, PIL" "${1/calib.h5/photos.h5}" ;;
    build/reap\ * | mpirun\ *) echo "${1/build\/reap/$reap}" ;;
    reap\ help*) echo "$reap${1#reap}" ;;
    reap\ prune\ --flops\ F) ;; # what a column of a table means
    cmake\ --install\ build*) [ "$reap" = reap ] || echo "cmake --install $(dirname "$program") --prefix $PWD/prefix" ;;
    man\ reap-*) [ -e prefix/share/man ] && command -v man >/dev/null && echo "$1" ;;
    *) echo "unknown" ;;
  esac
}

mkdir photos
find_python "PIL, numpy" "$venv/bin/python" python3 /usr/bin/python3
[ -n "$python" ] && "$python" - <<'PYTHON'
import numpy
from PIL import Image
for k in range(3):
    Image.fromarray(numpy.random.RandomState(k).randint(0, 256, (32, 30, 3)).astype("uint8")).save("photos/%d.png" % k)
PYTHON
export PATH=$(dirname "$program"):$PATH MANPATH=$PWD/prefix/share/man OMPI_MCA_mpi_yield_when_idle=1
commands >commands.txt
check "the page has commands" [ "$(wc -l <commands.txt)" -gt 12 ]
while IFS= read -r printed; do
  line=$(command_line "$printed")
  case "$line" in
    "") skipped+=("$printed") ;;
    unknown) fail "nobody runs: $printed" ;;
    *)
      checks=$((checks + 1))
      timeout 300 bash -c "$line" </dev/null >out.txt 2>err.txt || fail "status $?: $line"
      ;;
  esac
done <commands.txt
check "the pruned network is there" [ -s pruned.onnx ]

# ------------------------------------------------------------------ options and Python that are printed

build/reap help prune >help.txt 2>/dev/null || "$program" help prune >help.txt
sed -n '/^| task | options/,/^$/p' "$page" | grep -o -- '--[a-z][a-z-]*' | sort -u >options.txt
check "the page lists options" [ "$(wc -l <options.txt)" -gt 20 ]
while IFS= read -r option; do check "reap prune has no $option" grep -q -- "^  \(-., \)\?$option\b" help.txt; done <options.txt

if [ -n "${REAP_TORCH_PYTHON:-}" ]; then
  {
    printf 'import torch\nmodel = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))\n'
    printf 'example = torch.zeros(1, 1, 28, 28)\n'
    sed -n '/^       torch.onnx.export/,/^$/s/^       //p' "$page" | sed 's/"model.onnx"/"exported.onnx"/'
  } >export.py
  checks=$((checks + 1))
  "$REAP_TORCH_PYTHON" export.py >out.txt 2>err.txt || fail "the export from PyTorch"
  works inspect exported.onnx
fi
for printed in "${skipped[@]}"; do echo "not run here: $printed"; done
finish
