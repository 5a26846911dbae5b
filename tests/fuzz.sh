#!/usr/bin/env bash
# Readers of files under libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   fuzz.sh BUILD SECONDS [reader ...]
#
# BUILD is the ordinary build folder: its program makes the files that the fuzzer starts from. The instrumented build is BUILD/fuzz;
# what is found stays in BUILD/fuzz/findings, what was learnt in BUILD/fuzz/corpus. Each reader runs for SECONDS. Exit status: 0 nothing
# found, 1 findings, 77 no clang with the fuzzer's runtime, or nothing to start from.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "$1" && pwd) && seconds=$2
shift 2
readers=("$@")
[ ${#readers[@]} -gt 0 ] || readers=(onnx model images stats activations paths sweep plan latency)
fuzz=$build/fuzz
mkdir -p "$fuzz/seeds" "$fuzz/findings"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1

skip() { echo "SKIPPED: $*"; exit 77; }

can_build() {
  command -v clang >/dev/null || return 1
  echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return n < 0 && *d; }' >"$fuzz/probe.c"
  clang -fsanitize=fuzzer,address,undefined "$fuzz/probe.c" -o "$fuzz/probe" 2>/dev/null
}
can_build || skip "no clang with libFuzzer and the sanitizers (Debian: clang and libclang-rt-14-dev)"

if ! { cmake -S "$here/.." -B "$fuzz/build" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DREAP_FUZZ=ON \
  -DBUILD_TESTING=OFF && cmake --build "$fuzz/build" -j 2 --target fuzz_readers; } >"$fuzz/build.log" 2>&1; then
  tail -n 30 "$fuzz/build.log"
  exit 1
fi

# ------------------------------------------------------------------ what the fuzzer starts from
made=$fuzz/made reap=$build/reap
quietly() { timeout 120 "$@" >>"$fuzz/seeds.log" 2>&1; }

make_seeds() {
  mkdir -p "$made"
  local python found=
  for python in /usr/bin/python3 "$build/venv/bin/python" python3; do
    if [ -z "$found" ] && "$python" -c 'import h5py, numpy' 2>/dev/null; then found=$python; fi
  done
  [ -n "$found" ] && quietly "$found" -B "$here/fuzz_seeds.py" "$made" || return 1
  local net=$made/net.onnx images=$made/images.h5
  quietly "$reap" prune "$net" --calib "$images" --keep 0.5 -o "$made/model.h5" --save-plan "$made/plan.json" --save-stats "$made/stats.h5"
  quietly "$reap" stats "$net" --calib "$images" -o "$made/more.h5" --activations "$made/activations.h5" --positions 2
  quietly "$reap" paths "$net" --calib "$images" -o "$made/paths.h5"
  quietly "$reap" sweep "$net" --calib "$images" --eval "$images" --keep 0.5 -o "$made/sweep.h5"
  quietly "$reap" bench layers "$net" -o "$made/latency.json"
  local reader
  for reader in onnx model images stats activations paths sweep plan latency; do mkdir -p "$fuzz/seeds/$reader"; done
  cp "$here"/references/kernels/*.onnx "$here"/references/malformed/*.onnx "$made"/net*.onnx "$fuzz/seeds/onnx/"
  cp "$made/model.h5" "$fuzz/seeds/model/"
  cp "$images" "$made"/images_*.h5 "$fuzz/seeds/images/"
  cp "$made/stats.h5" "$made/more.h5" "$fuzz/seeds/stats/"
  cp "$made/activations.h5" "$fuzz/seeds/activations/"
  cp "$made/paths.h5" "$fuzz/seeds/paths/"
  cp "$made"/sweep.h5.d/*.h5 "$fuzz/seeds/sweep/"
  cp "$made"/*plan*.json "$fuzz/seeds/plan/"
  cp "$made"/*latency*.json "$fuzz/seeds/latency/"
} 2>>"$fuzz/seeds.log"
if [ ! -e "$fuzz/seeds/complete" ]; then
  make_seeds || skip "no Python with h5py and numpy to make the first files (see $fuzz/seeds.log)"
  touch "$fuzz/seeds/complete"
fi

# ------------------------------------------------------------------ runs
cat "$here/lsan.supp" "$here/fuzz.supp" >"$fuzz/leaks.supp"
export UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=suppressions=$fuzz/leaks.supp:print_suppressions=0 REAP_FUZZ_NETWORK=$made/net.onnx

# The library of HDF5 takes lengths from a file on trust; reap keeps it in a process of its own. Its own crashes are listed by the
# place and do not count: the fuzzer goes on behind them.
is_hdf5() { case $1 in model | images | stats | activations | paths | sweep) true ;; *) false ;; esac; }

# place FILE: innermost frame of a finding that is HDF5's or ours, and our innermost frame.
place() {
  timeout 60 "$fuzz/build/fuzz_readers" -timeout=10 -rss_limit_mb=1024 "$1" >"$fuzz/$REAP_FUZZ_READER.one.log" 2>&1
  local frame own
  frame=$(grep -aE '^ *#[0-9]+ .*(libhdf5|/src/|/tests/)' "$fuzz/$REAP_FUZZ_READER.one.log" | head -n 1 | sed -E 's/^ *#[0-9]+ 0x[0-9a-f]+ (in )?//; s/ *\(BuildId.*//')
  own=$(grep -aE '^ *#[0-9]+ .*/src/' "$fuzz/$REAP_FUZZ_READER.one.log" | head -n 1 | sed -E 's/^.* in ([a-z_0-9A-Z]+) .*\/src\/([^ ]*).*/\1 (\2)/')
  printf '%s, called by %s' "${frame:-not found again}" "${own:-?}"
}

# judge READER: tells the findings; fails if one is ours.
judge() {
  local finding where ours=0
  for finding in "$fuzz/findings/$1"/*; do
    [ -e "$finding" ] || continue
    case $finding in */slow-unit-*) continue ;; esac
    where=$(place "$finding")
    if is_hdf5 "$1" && { [[ $where == *libhdf5*,* ]] || [[ $where == not\ found\ again* ]]; }; then
      printf '  in HDF5, not counted: %s: %s\n' "$(basename "$finding")" "$where"
    else
      printf '  FOUND: %s: %s\n' "$finding" "$where"
      grep -am 3 -E '^==[0-9]+== *ERROR|runtime error|^status|not given back|not closed' "$fuzz/$1.one.log" | sed 's/^/    /'
      ours=1
    fi
  done
  return $ours
}

# try READER: runs it and tells what came of it; fails if something was found.
try() {
  local reader=$1 longest=8192 more=() asan=allocator_may_return_null=1:detect_leaks=1 status runs cover
  mkdir -p "$fuzz/corpus/$reader" "$fuzz/findings/$reader"
  if is_hdf5 "$reader"; then
    longest=65536 asan=$asan:max_allocation_size_mb=400 more=(-fork=1 -ignore_crashes=1 -ignore_ooms=1 -ignore_timeouts=1)
  fi
  export REAP_FUZZ_READER=$reader ASAN_OPTIONS=$asan
  timeout $((seconds + 120)) "$fuzz/build/fuzz_readers" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
    -max_len="$longest" -print_final_stats=1 -artifact_prefix="$fuzz/findings/$reader/" "${more[@]}" "$fuzz/corpus/$reader" \
    "$fuzz/seeds/$reader" >"$fuzz/$reader.log" 2>&1
  status=$?
  runs=$(grep -aoE '^#[0-9]+|executed_units: [0-9]+' "$fuzz/$reader.log" | grep -oE '[0-9]+' | sort -n | tail -n 1)
  cover=$(grep -aoE 'cov: [0-9]+ ft: [0-9]+' "$fuzz/$reader.log" | tail -n 1)
  printf '%-12s %9s executions, %s\n' "$reader" "${runs:-0}" "${cover:-no coverage}"
  judge "$reader" || return 1
  if [ "${runs:-0}" = 0 ] || { [ $status -ne 0 ] && [ -z "$(ls "$fuzz/findings/$reader")" ]; }; then
    echo "  FOUND: it ended with status $status, see $fuzz/$reader.log"
    return 1
  fi
}

# Two at a time: each keeps one processor busy.
export -f try judge place is_hdf5
export fuzz seconds
printf '%s\n' "${readers[@]}" | xargs -P 2 -I READER bash -c 'try READER >"$fuzz/READER.verdict" 2>&1'
status=$?
for reader in "${readers[@]}"; do cat "$fuzz/$reader.verdict"; done
exit $((status > 0))
