#!/usr/bin/env bash
# Commands whose k-th write, sync, truncation, close or renaming fails on one rank, with all later ones (no room: exit status 4) or
# alone (an error of the device: exit status 3): a message that names the file, what was there before intact, nothing left behind, no hang.
# A sample of k; with REAP_TEST_LONG all. As root also a file system that really is full.
#
#   test_inject_failures.sh PROGRAM MAKE_CLI_FILES LIBRARY SCRATCH
program=$1 maker=$2 library=$3 scratch=$4 ranks=1
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
network=$resnet images=$scratch/made/few.h5
samples=3 rank_counts=2
[ -n "${REAP_TEST_LONG:-}" ] && samples=1000000 rank_counts="1 2 3"
fresh "$scratch"
mkdir made
"$maker" made || exit 1
runs=0

# Runs a command on so many ranks, its outputs below out/; the environment tells what fails.
run() { # RANKS ARGS...
  local launch=(mpirun -n "$1") pass=()
  shift
  [ "${launch[2]}" = 1 ] && launch=()
  [ ${#launch[@]} -gt 0 ] && pass=(-x LD_PRELOAD -x INJECT_FOLDER -x INJECT_RANK -x INJECT_AT -x INJECT_ERRNO -x INJECT_COUNT)
  status=0
  LD_PRELOAD=$library INJECT_FOLDER=$scratch/out timeout -k 5 60 "${launch[@]}" "${pass[@]}" "$program" "$@" --progress none --log-level quiet \
    >out.txt 2>err.txt || status=$?
}

# What is in out/ before each run.
prepare() {
  rm -rf out
  mkdir out
  for name in "${outputs[@]}"; do echo "what was there before: $name" >"out/$name"; done
}

# Whether an output is complete: an HDF5 file tells its own size, JSON ends as it began, an ONNX file is always the same.
is_whole() { # NAME
  local size
  size=$(stat -c %s "out/$1")
  case $1 in
    *.h5) [ "$(od -An -t u8 -j 40 -N 8 "out/$1" | tr -d ' ')" = "$size" ] ;;
    *.json) [ "$(head -c 1 "out/$1")$(tail -c 2 "out/$1" | tr -d '\n')" = "{}" ] ;;
    *) cmp -s "out/$1" "sound/$1" ;;
  esac
}

# Every output is what it was or, where it was finished before another one failed, whole.
check_outputs() { # WHAT
  local name
  for name in "${outputs[@]}"; do
    [ "$(head -c 200 "out/$name" | tr -d '\0')" = "what was there before: $name" ] && continue
    is_whole "$name" || fail "$1: $name is neither what it was nor whole"
  done
  find out -name '*.tmp' >left.txt
  [ -s left.txt ] && fail "$1: left behind: $(tr '\n' ' ' <left.txt)"
}

check_run() { # RANKS RANK AT WHAT ARGS...
  local ranks=$1 error=ENOSPC wanted=4
  [ $((runs % 2)) = 1 ] && error=EIO wanted=3
  local what="$4, call $3 of rank $2 of $1: $error"
  export INJECT_RANK=$2 INJECT_AT=$3 INJECT_ERRNO=$error INJECT_COUNT=$scratch/ignored.txt
  shift 4
  rm -f ignored.txt
  prepare
  run "$ranks" "$@"
  runs=$((runs + 1))
  # Reports hold times and differ in length: a run may come by with a call less than the one that was counted.
  [ "$status" = 0 ] && [ "$(cat ignored.txt)" -lt "$INJECT_AT" ] && return
  [ "$status" = "$wanted" ] || fail "$what: status $status"
  # A sweep tells of the setting that failed and, in the end, that one did.
  [ "$(grep -v 'settings failed, for the reasons above' err.txt | grep -c '^reap: ')" = 1 ] ||
    fail "$what: $(grep -c '^reap: ' err.txt) messages"
  grep -q '^reap: .*out/' err.txt || fail "$what: no file is named"
  check_outputs "$what"
}

each_call() { # RANKS WHAT "OUTPUTS" ARGS...
  local ranks=$1 what=$2 rank calls at step
  read -ra outputs <<<"$3"
  shift 3
  for ((rank = 0; rank < ranks; rank++)); do
    export INJECT_RANK=$rank INJECT_AT=0 INJECT_ERRNO=ENOSPC INJECT_COUNT=$scratch/count.txt
    prepare
    rm -f count.txt
    run "$ranks" "$@"
    [ "$status" = 0 ] || { fail "$what on $ranks ranks: status $status without a failure"; return; }
    rm -rf sound
    cp -r out sound
    calls=$(cat count.txt 2>/dev/null || echo 0)
    [ "$rank" = 0 ] && [ "$calls" -lt 4 ] && fail "$what: only $calls calls were seen"
    echo "$what, rank $rank of $ranks: $calls calls"
    step=$(((calls + samples - 1) / samples))
    [ "$step" -lt 1 ] && step=1
    for ((at = calls; at >= 1; at -= step)); do check_run "$ranks" "$rank" "$at" "$what" "$@"; done
  done
}

few=(--calib "$images" --images 20 --positions 2)
for ranks in $rank_counts; do
  each_call "$ranks" prune "o.h5 o.onnx r.json" prune "$network" "${few[@]}" --keep 0.5 --repair off --producers 0 -o out/o.h5 --onnx out/o.onnx --report out/r.json
  each_call "$ranks" "stats --activations" "s.h5 a.h5" stats "$network" "${few[@]}" -o out/s.h5 --activations out/a.h5
  each_call "$ranks" "eval --outputs" "e.h5" eval "$network" --data "$images" --outputs out/e.h5
  each_call "$ranks" sweep "w.h5" sweep "$network" "${few[@]}" --eval "$images" --keep 0.5 --method l1 --refit none -o out/w.h5
done

# A file system that hangs.
outputs=(o.h5)
prepare
export INJECT_RANK=0 INJECT_AT=5 INJECT_ERRNO=HANG INJECT_COUNT=
run 1 prune "$network" "${few[@]}" --keep 0.5 --repair off --producers 0 -o out/o.h5 --stall-timeout 2
runs=$((runs + 1))
[ "$status" = 7 ] || fail "a file system that hangs: status $status"
grep -q "has waited [0-9]* s for a file (write): .* a file system hangs" err.txt || fail "a file system that hangs: it is not said"

# A file system without room.
full() { # WHAT ARGS...
  unset INJECT_RANK INJECT_AT INJECT_ERRNO INJECT_COUNT
  mkdir -p full
  mount -t tmpfs -o size=4k none full || { echo "SKIPPED a full file system: it cannot be mounted"; return; }
  local what=$1
  shift
  status=0
  timeout -k 5 60 mpirun -n 2 "$program" "$@" --progress none --log-level quiet >out.txt 2>err.txt || status=$?
  runs=$((runs + 1))
  [ "$status" = 4 ] || fail "$what on a full file system: status $status"
  [ -z "$(ls -A full)" ] || fail "$what on a full file system: left behind: $(ls full)"
  umount full
}
if [ "$(id -u)" = 0 ]; then
  full prune prune "$network" "${few[@]}" --keep 0.5 --repair off -o full/o.h5
  full "stats --activations" stats "$network" "${few[@]}" -o s.h5 --activations full/a.h5
  full "eval --outputs" eval "$network" --data made/sound.h5 --outputs full/e.h5
else
  echo "SKIPPED a full file system: only root can mount one"
fi

echo "$runs runs, $failures failures"
exit $((failures > 0))
