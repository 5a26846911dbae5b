#!/usr/bin/env bash
# reap sweep as its users meet it: what it leaves, that it equals reap prune, restarts, failing settings, killed sweeps.
#
#   test_sweep.sh PROGRAM MAKER SCRATCH RANKS      MAKER: tests/make_cli_files.c, built
program=$1 maker=$2 ranks=$4
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
network=$vgg other_network=$resnet
fresh "$3/ranks-$ranks"
"$maker" . || { echo "FAILED: test files could not be made"; exit 1; }
command -v h5dump >/dev/null || { echo "SKIPPED: h5dump is missing (Debian: hdf5-tools)"; exit 77; }
groups=$((ranks > 1 ? 2 : 1))
data=("$network" --calib sound.h5 --images 60 --eval sound.h5 --log-level info)

sweep() { # STATUS ARGS...
  local wanted=$1
  shift
  run sweep "$@"
  check "status $status, not $wanted: reap sweep $*" [ "$status" = "$wanted" ]
}

# A report without what differs from run to run: times (the phases' seconds whole, so that a new phase needs no word here),
# memory, the command line, the number of ranks.
lasting() {
  tr -d ' \t' | sed '/^"seconds":{$/,/^},\{0,1\}$/d' |
    grep -v -E '^"(seconds|images_per_second|moments_flops|moments_seconds|peak_[a-z_]*|frontier|images_read_bytes|forward_seconds|command|date|ranks|path)":-?["0-9]' |
    grep -v '^$'
}
report_in() { h5dump -d "$2" "$1" | sed -n '/(0): "/,$p' | sed 's/^ *(0): "//' | sed '/^ *}"$/,$d'; }
same_report() { # FILE DATASET JSON
  checks=$((checks + 1))
  report_in "$1" "$2" | lasting >a.txt
  sed '$d' "$3" | lasting >b.txt
  [ "$(wc -l <b.txt)" -gt 100 ] || fail "$3 has only $(wc -l <b.txt) lines"
  cmp -s a.txt b.txt || { fail "$2 of $1 is not the report $3"; diff a.txt b.txt | head -n 6; }
}

number_of() { find "$1" -maxdepth 1 -name "$2" | wc -l; }

# ------------------------------------------------------------------ a sweep equals single runs
pairs=("reap 0.5" "random 0.8")
for pair in "${pairs[@]}"; do
  read -r method flops <<<"$pair"
  "$program" prune "${data[@]}" --flops "$flops" --method "$method" --seed 3 -o one.h5 --onnx "$method-$flops.onnx" \
    --report "$method-$flops.json" >/dev/null 2>&1 || fail "reap prune --flops $flops --method $method"
done
sweep 0 "${data[@]}" --flops 0.8,0.5 --method reap,random --seed 3 --groups $groups --save-models onnx -o S.h5
says "4 settings on $ranks rank"
says "4 of 4 settings"
says "method random gets the sizes of reap"
for pair in "${pairs[@]}"; do
  read -r method flops <<<"$pair"
  name=$(cd S.h5.d && ls | grep "^$method-.*flops-$flops-seed3.h5$")
  name=${name%.h5}
  check "a file of $method at $flops" [ -n "$name" ]
  same_report "S.h5.d/$name.h5" /report "$method-$flops.json"
  same_report S.h5 "/settings/$name/report" "$method-$flops.json"
  check "$name.onnx is what reap prune writes" cmp "S.h5.d/$name.onnx" "$method-$flops.onnx"
done
check "four settings and four models" [ "$(number_of S.h5.d '*-flops-*')" = 8 ]
columns=$(h5dump -n S.h5 | grep -c '/table/')
check "14 columns, not $columns" [ "$columns" = 14 ]
check "a table row for every setting" [ "$(h5dump -d /table/value S.h5 | grep -c 'SIMPLE { ( 4 )')" = 1 ]
check "paths for both methods, made once" [ "$(number_of S.h5.d 'paths-output-*.h5')" = 1 ]
check "whose sizes random gets" grep -q '"sizes_of":[[:space:]]*"reap"' random-0.8.json
check "paths are in the merged file" [ "$(h5dump -n S.h5 | grep -c '^ group */groups/')" -gt 3 ]
check "a baseline" [ "$(h5dump -a /baseline/flops S.h5 | grep -c '(0): 29275904')" = 1 ]

# ------------------------------------------------------------------ a restart does what is missing, in other groups
stamp() { find S.h5.d -name '*.h5' ! -name '*-0.3-*' -printf '%f %i %T@\n' | sort; }
before=$(stamp)
rm -f S.h5
sweep 0 "${data[@]}" --flops 0.80,0.5,3e-1 --method reap --seed 3 --groups 1 -o S.h5
says "2 of 3 settings are done already"
check "what was done is left alone" [ "$before" = "$(stamp)" ]
check "five settings now" [ "$(number_of S.h5.d '*-flops-*.h5')" = 5 ]
check "the merged file has those that nobody asked for, too" [ "$(h5dump -n S.h5 | grep -c '/report$')" = 5 ]
sweep 0 "${data[@]}" --flops 0.3,0.5 --method reap --seed 3 -o S.h5
says "2 of 2 settings are done already"

# ------------------------------------------------------------------ paths given, for the settings that choose by them
if [ "$ranks" = 1 ]; then
  given=("${data[@]}" --flops 0.5 --method random --from-paths "$(echo S.h5.d/paths-output-*.h5)")
  sweep 0 "${given[@]}" --ratios uniform,output -o P.h5
  check "uniform and chosen sizes" [ "$(number_of P.h5.d 'random-*-flops-0.5-seed0.h5')" = 2 ]
  check "no paths of its own" [ "$(number_of P.h5.d 'paths-*')" = 0 ]
  sweep 2 "${given[@]}" --ratios uniform -o P.h5
  says "--from-paths is for"
fi

# ------------------------------------------------------------------ files of another sweep are refused
refused() { # "WORDS" ARGS...
  local words=$1
  shift
  sweep 3 "$@" --flops 0.5 -o S.h5
  says "$words"
  says "S.h5.d"
}
refused '--ridge was "", and is "1e-3" now' "${data[@]}" --ridge 1e-3
refused '--images was "60", and is "59" now' "$network" --calib sound.h5 --images 59 --eval sound.h5 --log-level info
if [ "$ranks" = 1 ]; then
  refused calibration_sha256 "$network" --calib few.h5 --images 60 --eval sound.h5
  refused evaluation_sha256 "$network" --calib sound.h5 --images 60 --eval few.h5
  refused model_sha256 "$other_network" --calib sound.h5 --images 60 --eval sound.h5
  mkdir -p bad.h5.d
  echo text >bad.h5.d/damaged.h5
  sweep 3 "${data[@]}" --flops 0.5 -o bad.h5
  says bad.h5.d/damaged.h5
fi

# ------------------------------------------------------------------ one that fails does not stop the others
sweep 2 "${data[@]}" --flops 0.00001,0.5 --method random --ratios uniform --groups $groups -o F.h5
says "flops 1e-05 cannot be reached"
says "1 of 2 settings failed"
check "the other setting is there" [ "$(number_of F.h5.d '*flops-0.5-seed0.h5')" = 1 ]
check "the failure is told in the merged file" [ "$(h5dump -n F.h5 | grep -c '/failed/.*flops-1e-05-seed0')" = 1 ]

# ------------------------------------------------------------------ killed, then continued
"${launch[@]}" "$program" sweep "${data[@]}" --keep 0.9,0.8,0.7,0.6,0.5,0.4 -o K.h5 >killed.txt 2>&1 &
pid=$!
for ((i = 0; i < 600; i++)); do
  ls K.h5.d/*.h5 >/dev/null 2>&1 && break
  sleep 0.1
done
if [ "$ranks" = 1 ]; then kill -KILL $pid; else kill -TERM $pid; fi
wait $pid 2>/dev/null
done=$(number_of K.h5.d '*.h5')
check "killed after the first setting, at $done" [ "$done" -ge 1 ]
sweep 0 "${data[@]}" --keep 0.9,0.8,0.7,0.6,0.5,0.4 -o K.h5
says "$done of 6 settings are done already"
check "all six in the end" [ "$(h5dump -n K.h5 | grep -c '/report$')" = 6 ]
check "nothing left behind" [ -z "$(find . -name '*.tmp*')" ]

# ------------------------------------------------------------------ merging later, moments in place of images, mistakes
if [ "$ranks" != 2 ]; then
  sweep 0 "${data[@]}" --keep 0.5,0.25 --no-merge -o N.h5
  check "no merged file" [ ! -e N.h5 ]
  sweep 0 "${data[@]}" --keep 0.5 -o N.h5
  check "both are merged" [ "$(h5dump -n N.h5 | grep -c '/report$')" = 2 ]
fi
if [ "$ranks" = 1 ]; then
  "$program" stats "$network" --calib sound.h5 --images 60 -o stats.h5 >/dev/null 2>&1 || fail "reap stats"
  "$program" prune "$network" --from-stats stats.h5 --eval sound.h5 --keep 0.5 -o one.h5 --report one.json >/dev/null 2>&1 || fail "--from-stats"
  sweep 0 "$network" --from-stats stats.h5 --eval sound.h5 --keep 0.5 -o M.h5
  same_report "$(ls M.h5.d/*.h5)" /report one.json
  wrong() {
    local words=$1
    shift
    sweep 2 "$@"
    says "$words"
    says 'try "reap sweep --help"'
  }
  wrong "no budget is given" "${data[@]}" -o W.h5
  wrong "asked for twice" "${data[@]}" --flops 0.5,0.50 -o W.h5
  wrong 'not "x"' "${data[@]}" --flops 0.5,x -o W.h5
  wrong 'not ""' "${data[@]}" --flops 0.5, -o W.h5
  wrong 'not "best"' "${data[@]}" --flops 0.5 --method reap,best -o W.h5
  wrong "share above 0" "${data[@]}" --flops 0.5,1.5 -o W.h5
  wrong "--groups 2" "${data[@]}" --flops 0.5 --groups 2 -o W.h5
  wrong 'no option "--report"' "${data[@]}" --flops 0.5 --report R.json -o W.h5
  wrong "-o is missing" "${data[@]}" --flops 0.5
  check "mistakes leave nothing" [ ! -e W.h5.d ]
fi

# ------------------------------------------------------------------ the job array: its lock goes with a task that is killed
if [ "$ranks" = 1 ]; then
  cat >in-place-of-reap <<'SHELL'
#!/usr/bin/env bash
# Kills the task that merges first.
mkdir -p A.h5.d
case "$*" in *--no-merge*) exit ;; esac
[ -e killed ] && { echo "merged $*"; exit; }
touch killed
kill -KILL $PPID
SHELL
  chmod +x in-place-of-reap
  task() { # INDEX: leaves its status and out.txt
    code=0
    BUDGETS="0.5 0.6" REAP=./in-place-of-reap REAP_LAUNCH=env SLURM_ARRAY_TASK_ID=$1 timeout 60 \
      bash "$source/jobs/sweep_array.sbatch" model.onnx -o A.h5 >out.txt 2>err.txt || code=$?
  }
  task 0
  check "a task before the last does not merge" grep -q 'not finished' out.txt
  task 1
  check "the task that merges is killed: $code" [ "$code" = 137 ]
  task 1
  check "submitted again, it merges: $code" [ "$code" = 0 ]
  check "all budgets are merged" grep -q '^merged sweep model.onnx -o A.h5 --flops 0.5,0.6$' out.txt
fi

finish
