#!/usr/bin/env bash
# --memory, --scratch and inspect --estimate as their users meet them: equal results, clean folders, messages.
#
#   test_cli_memory.sh PROGRAM SCRATCH RANKS
program=$1 ranks=$3
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
images=$fashion/fashion-calib.h5
fresh "$2/ranks-$ranks"
mkdir parked

ends() { # ends STATUS "WORDS" ARGS...: fails so, with these words in one message
  local wanted=$1 words=$2
  shift 2
  run "$@"
  check "status $status instead of $wanted: $*" [ "$status" = "$wanted" ]
  check "says \"$words\": $*" [ "$(grep -cF -- "$words" err.txt)" = 1 ]
}

number() { sed -n "s/.*\"$1\":[^0-9]*\([0-9.e+]*\).*/\1/p" "$2" | head -n 1; }
above() { awk "BEGIN { exit !($1 > $2) }"; }
empty() { [ -z "$(ls -A "$1")" ]; }

prune=(prune "$resnet" --calib "$images" --images 600 --positions 5 --keep 0.5 --progress none)

# ---- the same result with any limit, and nothing left behind
works "${prune[@]}" -o a.h5 --onnx a.onnx --report a.json
check "no limit: nothing parked" [ "$(number spilled_bytes a.json)" = 0 ]
check "the peak is told" above "$(number peak_resident a.json)" "$(number frontier a.json)"
works "${prune[@]}" -o b.h5 --onnx b.onnx --report b.json --memory 24M --scratch parked
check "same network within 24 MB" cmp -s a.onnx b.onnx
check "something was parked" above "$(number spilled_bytes b.json)" 0
check "values took no more than the limit" above 25165825 "$(number frontier b.json)"
check "the line tells" grep -q '^memory .* in a scratch file in parked, ' out.txt
check "the scratch folder is empty" empty parked
works "${prune[@]}" -o again.h5 --report again.json --memory 24M --scratch parked --producers 0 # who reads often parks
check "the first layers were computed again" above "$(number recomputed_bytes again.json)" 0
TMPDIR=$PWD/parked works "${prune[@]}" -o c.h5 --onnx c.onnx --memory 7m
check "same network within less than a block" cmp -s a.onnx c.onnx
check "that is told" grep -q 'less than the values of one block' err.txt
check "TMPDIR is the scratch folder" grep -q "in a scratch file in $PWD/parked" out.txt
stats=(stats "$resnet" --calib "$images" --images 600 --positions 5 --progress none)
works "${stats[@]}" -o a-stats.h5
works "${stats[@]}" -o b-stats.h5 --memory 24M --scratch parked
if command -v h5diff >/dev/null; then
  check "statistics are the same" h5diff a-stats.h5 b-stats.h5
else
  echo "SKIPPED comparison of statistics: there is no h5diff (hdf5-tools)"
fi
check "the scratch folder is empty again" empty parked

# ---- killed on the way
"$program" "${prune[@]}" -o k.h5 --memory 7M --scratch parked >out.txt 2>err.txt &
victim=$!
for _ in $(seq 200); do # until it holds an open file without a name there
  ls -l "/proc/$victim/fd" 2>/dev/null | grep -q 'parked/.*deleted' && break
  sleep 0.05
done
check "a file without a name is open" [ -n "$(ls -l "/proc/$victim/fd" 2>/dev/null | grep 'parked/.*deleted')" ]
check "nothing to be seen during a run" empty parked
kill -9 "$victim"
wait "$victim" 2>/dev/null
check "nothing to be seen after a kill" empty parked
rm -f k.h5*

# ---- what cannot be
for size in 0 -1 "" 2X 2GB 1e 0x10 inf " 2G" 99999999T; do
  ends 2 "--memory wants a number of bytes" "${prune[@]}" -o x.h5 --memory="$size"
  [ "$3" = 1 ] || break
done
ends 2 "--memory wants a number of bytes" "${stats[@]}" -o x.h5 --memory 5Q
floor='cannot be kept to: one layer, for one block of 64 images, takes 6.2M (see --memory)'
ends 2 "a memory limit of 10 bytes $floor" "${prune[@]}" -o x.h5 --memory 10
ends 2 "a memory limit of 6396313 bytes $floor" "${stats[@]}" -o x.h5 --memory 6.1M
ends 2 "a memory limit of 10 bytes $floor" paths "$resnet" --calib "$images" -o x.h5 --memory 10
ends 2 "--scratch is used with --memory only" "${prune[@]}" -o x.h5 --scratch parked
ends 2 "--memory is for images" prune "$resnet" --from-stats a-stats.h5 --keep 0.5 -o x.h5 --memory 1G
ends 3 "scratch folder nowhere/at/all: No such file" "${prune[@]}" -o x.h5 --memory 1G --scratch nowhere/at/all
ends 3 "is not a folder" "${stats[@]}" -o x.h5 --memory 1G --scratch a.onnx
if [ "$(id -u)" != 0 ]; then
  mkdir -p closed && chmod 500 closed
  ends 3 "scratch folder closed: Permission denied" "${prune[@]}" -o x.h5 --memory 1G --scratch closed
fi
mkdir -p small
if mount -t tmpfs -o size=1m none small 2>/dev/null; then
  ends 4 "scratch folder small has no room left" "${prune[@]}" -o x.h5 --memory 7M --scratch small
  check "HDF5 stays quiet" [ "$(grep -c 'HDF5' err.txt)" = 0 ]
  check "a full folder is empty afterwards" empty small
  umount small
else
  echo "SKIPPED a full scratch folder: tmpfs cannot be mounted here"
fi
check "no output of runs that failed" [ ! -e x.h5 ]
check "no temporary files" [ -z "$(find . -name '*.tmp*')" ]

# ---- a limit of the address space: OpenBLAS and oneDNN take memory by themselves, and do not live with a refusal
run_limited() { # KILOBYTES: status of a short run, never that of timeout (124) or of a crash
  status=0
  (ulimit -v "$1" && unset OMP_NUM_THREADS && timeout 100 "${launch[@]}" "$program" prune "$resnet" --calib "$images" --images 64 \
    --keep 0.5 --repair off -o x.h5) >out.txt 2>err.txt || status=$?
}
run_limited 4000000
named=
if [ "$status" = 0 ]; then # sanitizers need more than that
  for megabytes in 250 360 400 440 480 520 560; do
    run_limited "${megabytes}000"
    check "status $status, 4 or 0, with $megabytes MB of address space" [ "$status" = 4 -o "$status" = 0 ]
    ! grep -q "OpenBLAS needs .* (ulimit -v)" err.txt || named=yes
  done
  check "the library and the limit are named, at the limit that OpenBLAS is the first to meet" [ -n "$named" ]
else
  echo "SKIPPED limits of the address space: status $status with 4 GB of it"
fi
rm -f x.h5

# ---- estimates
works inspect "$resnet" --json --estimate 2 --images 640
mv out.txt few.json
works inspect "$resnet" --json --estimate 2 --images 6400
check "more images take more memory" above "$(number peak_resident out.txt)" "$(number peak_resident few.json)"
check "of values ten times as much" above "$(number frontier out.txt)" "$(number frontier_without_limit few.json)*8"
check "and more operations" above "$(number forward_multiply_adds out.txt)" "$(number forward_multiply_adds few.json)*4" # fewer than ten times: producers are solved on 1000 images
check "a time is told" above "$(number seconds out.txt)" 0
works inspect "$resnet" --estimate 2 --images 6400 --memory 20M
check "the limit counts" grep -q 'without the limit' out.txt
ends 2 "belong to --estimate" inspect "$resnet" --images 10
ends 2 "whole number of at least 1" inspect "$resnet" --estimate 0
ends 2 "--keep wants a share" inspect "$resnet" --estimate 1 --keep 2

finish
