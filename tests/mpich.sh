#!/usr/bin/env bash
# reap built with MPICH in place of Open MPI: some tests, and a run that has to give the network that Open MPI's gives.
#
#   tests/mpich.sh [PROGRAM]       the program built with Open MPI, default build/reap
#
# Debian has both MPIs side by side; mpich, libmpich-dev, libscalapack-mpich-dev and libhdf5-mpich-dev are installed if they are
# missing (jobs/setup.sh), and Open MPI stays the one that `mpicc` and `mpirun` mean. Builds in build/mpich; takes some minutes.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../jobs/setup.sh"
program=$(realpath "${1:-$reap_build/reap}") || exit 1
reap_install mpich libmpich-dev libscalapack-mpich-dev libhdf5-mpich-dev || exit 1
reap_mpi_environment
build=$reap_build/mpich
tests=(comm linalg solver stats)
failures=0 checks=0

check() { # WHAT COMMAND...
  checks=$((checks + 1))
  local what=$1
  shift
  if ! "$@" >"$build/log.txt" 2>&1; then
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$what"
    tail -n 20 "$build/log.txt" | sed 's/^/    /'
  fi
}

mkdir -p "$build"
check "configuring" cmake -S "$reap_root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DMPI_C_COMPILER=mpicc.mpich
check "building" cmake --build "$build" -j "$(nproc)" --target reap "${tests[@]/#/test_}"
[ $failures = 0 ] || exit 1

libraries=$(ldd "$build/reap")
check "no library of Open MPI" bash -c '! grep -q -e openmpi -e libmpi.so <<<"$1"' bash "$libraries"
cd "$build" || exit 1
pattern=$(IFS='|'; printf '%s' "${tests[*]}")
check "tests $pattern on 1 and 2 ranks" ctest --output-on-failure -R "^($pattern)-[12]\$"

fashion=$reap_root/datasets/fashion
run=(prune "$fashion/resnet-fashion.onnx" --calib "$fashion/fashion-calib.h5" --images 300 --flops 0.6 --progress none)
check "a run with Open MPI" "$program" "${run[@]}" -o openmpi.onnx
for ranks in 1 2; do
  check "a run on $ranks ranks" mpiexec.mpich -n $ranks ./reap "${run[@]}" -o mpich.onnx
  check "the network of $ranks ranks is that of Open MPI" python3 "$here/same_network.py" openmpi.onnx mpich.onnx
done
# The death of a rank ends the run, which goes on from its checkpoint.
mpiexec.mpich -n 2 ./reap "${run[@]}" -o killed.onnx --checkpoint state.h5 >log.txt 2>&1 &
pid=$!
for ((i = 0; i < 3000; i++)); do
  [ ! -e state.h5 ] && kill -0 $pid 2>/dev/null || break
  sleep 0.02
done
# mpiexec has a proxy, whose children are the ranks
for proxy in $(pgrep -P $pid); do pkill -KILL -n -P "$proxy"; done
wait $pid
check "a run that has lost a rank writes nothing" [ ! -e killed.onnx ]
check "it goes on" mpiexec.mpich -n 2 ./reap "${run[@]}" -o killed.onnx --checkpoint state.h5 --resume
check "to the same network" python3 "$here/same_network.py" openmpi.onnx killed.onnx
rm -f openmpi.onnx mpich.onnx killed.onnx state.h5
printf 'MPICH: %d checks, %d failed\n' $checks $failures
[ $failures = 0 ]
