#!/usr/bin/env bash
# Compares the results of this working tree with those of another commit: pruned networks bit for bit, kept channels and
# all of the reports but times and memory, for twelve commands on several numbers of ranks.
#
#   tests/same_results.sh [--only NAME,...] COMMIT [RANKS...]     default: all commands, ranks 1 2 3
#
# COMMIT is built in build/same/COMMIT and its results stay there for the next comparison; this tree is built in build/, its
# results are in build/same/new. NAME is a command of the list below. What differs between numbers of ranks by rounding (layers
# solved by ScaLAPACK) is compared with the same number of ranks only. Keys that one side alone has are listed as notes.
# REAP_TEST_DATA (default: ../shared/data beside the project) may hold resnet20-cifar10-bn.onnx and cifar10-calib.h5; commands on
# them are skipped, and said to be, without it.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
commands=(quickstart keep flops params methods refits vgg scalapack memory stats paths sweep)
if [ "${1:-}" = --only ]; then
  IFS=, read -ra commands <<<"${2:-}"
  shift 2
fi
if [ $# -lt 1 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
  sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit $(($# < 1 ? 2 : 0))
fi
commit=$(git -C "$root" rev-parse --verify "$1^{commit}") || exit 2
shift
ranks=("${@:-1}")
[ $# -gt 0 ] || ranks=(1 2 3)
. "$root/jobs/setup.sh"
reap_mpi_environment
export OMPI_MCA_mpi_yield_when_idle=1

same=$root/build/same
old=$same/$commit
folders=("$old/results" "$same/new")
mkdir -p "$same"
if [ ! -x "$old/build/reap" ]; then
  rm -rf "$old"
  mkdir -p "$old/source"
  git -C "$root" archive "$commit" | tar -x -C "$old/source" || exit 1
  { cmake -S "$old/source" -B "$old/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF &&
    cmake --build "$old/build" -j "$(nproc)"; } >"$old/build.log" 2>&1 || { echo "commit $commit does not build: see $old/build.log"; exit 1; }
fi
programs=("$old/build/reap" "$root/build/reap")
[ -x "${programs[1]}" ] || { echo "build this tree first (tests/run.sh, or cmake)"; exit 1; }
echo "comparing with commit $(git -C "$root" log -1 --format='%h %s' "$commit")"

fashion=$root/datasets/fashion
data=${REAP_TEST_DATA:-$root/../shared/data}
resnet=("$fashion/resnet-fashion.onnx" --calib "$fashion/fashion-calib.h5" --images 500)
vgg=("$fashion/vgg-fashion.onnx" --calib "$fashion/fashion-calib.h5" --images 500)
cifar=("$data/resnet20-cifar10-bn.onnx" --calib "$data/cifar10-calib.h5" --images 500)
quiet=(--progress none --log-level quiet)
out=(-o out.h5 --onnx out.onnx --report out.json "${quiet[@]}")

# Each command runs in a folder of its own; $reap stands for the launched program.
run_quickstart() { "${reap[@]}" prune "${resnet[@]}" --flops 0.5 --eval "$fashion/fashion-test.h5" "${out[@]}"; }
run_keep() { "${reap[@]}" prune "${cifar[@]}" --keep 0.5 "${out[@]}"; }
run_flops() { "${reap[@]}" prune "${cifar[@]}" --flops 0.5 "${out[@]}"; }
run_params() { "${reap[@]}" prune "${resnet[@]}" --params 0.6 "${out[@]}"; }
run_methods() {
  local m
  for m in l1 l1-filter random; do
    "${reap[@]}" prune "${resnet[@]}" --keep 0.6 --method $m -o $m.h5 --onnx $m.onnx --report $m.json "${quiet[@]}" || return
  done
}
run_refits() {
  "${reap[@]}" prune "${resnet[@]}" --flops 0.6 --ratios path --refit none "${out[@]}" &&
    "${reap[@]}" prune "${resnet[@]}" --flops 0.6 --ratios uniform --repair off --ridge auto -o auto.h5 --onnx auto.onnx --report auto.json "${quiet[@]}"
}
run_vgg() { "${reap[@]}" prune "${vgg[@]}" --flops 0.5 --producers 1 "${out[@]}"; }
run_scalapack() { "${reap[@]}" prune "${resnet[@]}" --keep 0.5 --solver scalapack "${out[@]}"; }
run_memory() { "${reap[@]}" prune "${resnet[@]}" --flops 0.5 --memory 200M --scratch . "${out[@]}"; }
run_stats() {
  "${reap[@]}" stats "${resnet[@]}" -o stats.h5 "${quiet[@]}" &&
    "${reap[@]}" prune "$fashion/resnet-fashion.onnx" --from-stats stats.h5 --flops 0.5 "${out[@]}"
}
run_paths() {
  "${reap[@]}" paths "${resnet[@]}" -o paths.h5 "${quiet[@]}" &&
    "${reap[@]}" prune "${resnet[@]}" --from-paths paths.h5 --flops 0.5 "${out[@]}"
}
run_sweep() {
  "${reap[@]}" sweep "${resnet[@]}" --eval "$fashion/fashion-test.h5" --flops 0.7,0.5 --method reap,l1 -o sweep.h5 "${quiet[@]}" &&
    table_text sweep.h5 >sweep.txt
}
# Values alone: strings were stored otherwise once.
table_text() {
  h5dump -y -d /table/name -d /table/kl -d /table/flops -d /table/params -d /table/top1 "$1" | sed '1d; /STRSIZE\|STRPAD/d; s/\\000//g' |
    tr -d ' \n'
}
needs_data() { case $1 in keep|flops) [ -f "${cifar[0]}" ] && [ -f "${cifar[2]}" ] ;; *) true ;; esac; }

# Results of a command on a number of ranks: what the other commit gave is kept.
results() { # SIDE COMMAND RANKS
  local folder=${folders[$1]}/$2.$3
  if [ "$1" = 0 ] && [ -e "$folder/complete" ]; then return; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  reap=(mpirun -n "$3" "${programs[$1]}")
  (cd "$folder" && "run_$2") >"$folder/log" 2>&1 || { echo "FAILED $2 on $3 ranks: see $folder/log"; return 1; }
  if [ "$1" = 0 ]; then touch "$folder/complete"; fi
}

different=0 compared=0
for c in "${commands[@]}"; do
  declare -F "run_$c" >/dev/null || { echo "there is no command $c"; exit 2; }
  needs_data "$c" || { echo "SKIPPED $c: $data has not the network and images"; continue; }
  for r in "${ranks[@]}"; do
    results 0 "$c" "$r" && results 1 "$c" "$r" || { different=$((different + 1)); continue; }
    if python3 "$here/same_results.py" "${folders[0]}/$c.$r" "${folders[1]}/$c.$r"; then
      echo "same       $c, $r rank(s)"
    else
      echo "DIFFERENT  $c, $r rank(s)"
      different=$((different + 1))
    fi
    compared=$((compared + 1))
  done
done
echo "$compared compared, $different different"
exit $((different > 0 || compared == 0))
