#!/usr/bin/env bash
# Runs that end before their time, as users of reap prune meet them: killed, asked to stop, interrupted, resumed.
#
#   test_broken_runs.sh PROGRAM SCRATCH RANKS
program=$(realpath "$1") ranks=$3
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
fresh "$2/ranks-$ranks"
calib=$fashion/fashion-calib.h5
prune=(prune "$resnet" --calib "$calib" --images 300 --flops 0.6 --ratios uniform --producers 1 --progress none)
works "${prune[@]}" -o whole.h5 --onnx whole.onnx
works "${prune[@]}" -o out.h5 --onnx out.onnx --checkpoint c.h5
check "a run that is not broken leaves no checkpoint" [ ! -e c.h5 ]
check "a checkpoint changes nothing" cmp whole.onnx out.onnx
says "c.h5 removed: the run is complete"

# start ARGS...: in the background, as pid. Under job control, without which it would ignore SIGINT.
start() {
  set -m
  "${launch[@]}" "$program" "$@" >out.txt 2>err.txt &
  pid=$!
  set +m
}

# broken SIGNAL STEPS: a run that gets the signal once its checkpoint has so many steps, or a second after it has none (where disks
# are slow, it is written seldom); tried again if the run was faster.
broken() {
  local signal=$1 steps=$2 try waited
  for try in 1 2 3 4 5; do
    rm -f c.h5 out.h5 out.onnx
    start "${prune[@]}" -o out.h5 --onnx out.onnx --checkpoint c.h5
    waited=0
    while kill -0 $pid 2>/dev/null; do
      if [ -e c.h5 ]; then
        if [ "$steps" = 0 ] || [ $waited -ge 50 ] || grep -qa "$(printf '%06d' "$((steps - 1))")" c.h5; then break; fi
        waited=$((waited + 1))
      fi
      sleep 0.02
    done
    # of mpirun's ranks one is killed; it passes other signals on
    if [ "$signal" = KILL ] && [ "$ranks" -gt 1 ]; then pkill -n -KILL -P $pid; else kill -"$signal" $pid; fi 2>/dev/null
    status=0
    wait $pid 2>/dev/null || status=$?
    [ "$status" = 0 ] || break
  done
  check "five runs ended before SIG$signal came" [ "$status" != 0 ]
}

resumed() { # RANKS: the network is that of the whole run
  local launch=(mpirun -n "$1")
  [ "$1" = 1 ] && launch=()
  works "${prune[@]}" -o out.h5 --onnx out.onnx --checkpoint c.h5 --resume
  says "resumed from c.h5"
  check "the network is the same after the resumption" cmp whole.onnx out.onnx
  check "the checkpoint went" [ ! -e c.h5 ]
}

for steps in 0 2; do
  broken USR1 $steps
  check "status 6 when asked to stop, not $status" [ "$status" = 6 ]
  says "c.h5 has what"
  check "nothing but the checkpoint was written" [ ! -e out.h5 ]
  resumed $((3 - ranks))
done
broken KILL 1
check "the death of a rank is no request to stop" [ "$(grep -c "asked to stop" err.txt)" = 0 ]
check "nothing but the checkpoint was written by a killed run" [ ! -e out.h5 ]
resumed "$ranks"
broken INT 1
says "c.h5 has what was done"
resumed "$ranks"

# What is refused, and what is not.
broken USR1 1
run "${prune[@]}" -o out.h5 --checkpoint c.h5
check "a checkpoint is not overwritten" [ "$status" = 2 ]
says "resume from it, or remove it"
run "${prune[@]}" -o out.h5 --checkpoint c.h5 --resume --ridge 1e-3
check "other options are refused" [ "$status" = 3 ]
says "ridge was \"9.9999999999999995e-07\" there"
run "${prune[@]}" -o out.h5 --resume
check "--resume alone is refused" [ "$status" = 2 ]
head -c 3000 c.h5 >cut.h5
run "${prune[@]}" -o out.h5 --checkpoint cut.h5 --resume
check "a checkpoint cut short is refused" [ "$status" = 3 ]
says "cut.h5"
resumed "$ranks"
works "${prune[@]}" -o out.h5 --onnx out.onnx --checkpoint none.h5 --resume
says "none.h5 is not there: the run starts afresh"

# Interrupted without a checkpoint. That a file will be replaced is said when signals are heard already.
echo old >never.h5
start "${prune[@]}" -o never.h5
until grep -q never.h5 err.txt || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -INT $pid
wait $pid 2>/dev/null
says "interrupted; no network was written"
check "nothing was written" [ "$(cat never.h5)" = old ]

# A rank that hangs: the others wait for it no longer than they are told to. It is stopped once the sizes are there.
if [ "$ranks" -gt 1 ]; then
  rm -f c.h5
  start "${prune[@]}" -o never.h5 --checkpoint c.h5 --stall-timeout 2
  until [ -e c.h5 ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
  pkill -n -STOP -P $pid
  status=0
  wait $pid 2>/dev/null || status=$?
  check "status 7 if a rank hangs, not $status" [ "$status" = 7 ]
  says "s for "
  check "the checkpoint stays" [ -e c.h5 ]
  resumed 1
fi
finish
