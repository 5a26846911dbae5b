#!/usr/bin/env bash
# Commands in which one call of MPI fails on one rank, in reap or in ScaLAPACK: exit status 7, a message that names a call and the rank,
# what was there before intact, no hang. A sample of the calls; with REAP_TEST_LONG a hundred of each.
#
#   test_mpi_failures.sh PROGRAM MAKE_CLI_FILES LIBRARY SCRATCH
program=$1 maker=$2 library=$3 ranks=2
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
samples=1
[ -n "${REAP_TEST_LONG:-}" ] && samples=100
fresh "$4"
mkdir made
"$maker" made || exit 1

run() { # ARGS...
  status=0
  LD_PRELOAD=$library timeout -k 5 60 mpirun -n 2 -x LD_PRELOAD -x INJECT_RANK -x INJECT_CALL -x INJECT_AT -x INJECT_HANG -x INJECT_COUNT \
    "$program" "$@" --progress none --log-level quiet >out.txt 2>err.txt || status=$?
}

fails() { # WHAT ARGS...
  local what="$1, call $INJECT_AT of rank $INJECT_RANK"
  shift
  export INJECT_COUNT=
  echo before >out.h5
  run "$@"
  check "$what: status $status" [ "$status" = 7 ]
  check "$what: no message" grep -q "^reap: .*MPI.* failed on rank $INJECT_RANK: .*a link may be gone" err.txt
  check "$what: the output is not what it was" [ "$(cat out.h5)" = before ]
}

each_call() { # WHAT "RANKS" ARGS...
  local what=$1 ranks=$2 rank calls i
  shift 2
  for rank in $ranks; do
    export INJECT_RANK=$rank INJECT_AT=0 INJECT_COUNT=count.txt
    run "$@"
    check "$what: status $status without a failure" [ "$status" = 0 ]
    calls=$(cat count.txt)
    echo "$what, rank $rank: $calls calls"
    check "$what: only $calls calls were seen" [ "$calls" -gt 10 ]
    for ((i = 0; i < samples; i++)); do # not the last ones, after the output is there
      export INJECT_AT=$((1 + (2 * i + 1) * (calls - 8) / (2 * samples)))
      fails "$what" "$@"
    done
  done
}

few=(--calib made/few.h5 --images 20 --positions 2)
each_call prune 1 prune "$resnet" "${few[@]}" --keep 0.5 --solver scalapack --producers 0 -o out.h5
each_call stats 1 stats "$resnet" "${few[@]}" -o out.h5
# ScaLAPACK's own messages
export INJECT_CALL=MPI_Recv
each_call "prune in ScaLAPACK" 0 prune "$resnet" "${few[@]}" --keep 0.5 --solver scalapack --producers 0 -o out.h5
check "ScaLAPACK's routine is not named" grep -q "MPI_Recv (for PD[A-Z]*) failed" err.txt
# and one that never arrives
export INJECT_AT=3 INJECT_HANG=1
run prune "$resnet" "${few[@]}" --keep 0.5 --solver scalapack --producers 0 -o out.h5 --stall-timeout 2
check "status $status where ScaLAPACK waits" [ "$status" = 7 ]
check "it does not say that ScaLAPACK waits" grep -q "has waited [0-9]* s for PD[A-Z]* (MPI_Recv): .* hangs" err.txt
finish
