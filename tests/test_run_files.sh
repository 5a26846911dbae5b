#!/usr/bin/env bash
# What a run may write over, and what becomes of its files when others write, replace or remove them meanwhile.
#
#   test_run_files.sh PROGRAM MAKER SCRATCH RANKS      MAKER: tests/make_cli_files.c, built
#
# Every command and every option that names an output is tried against all inputs and outputs of the run, in all spellings. On more than one
# rank, where starting takes longest, with a part of the spellings. REAP_TEST_LONG=1: 50 pairs of runs on one output in place of 4.
program=$1 maker=$2 scratch=$3/ranks-$4 ranks=$4
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
said=.. # the folder itself stays as reap leaves it
fresh "$scratch"
fresh "$scratch/work"
find_python json "$(dirname "$program")/venv/bin/python" /usr/bin/python3 python3

# All that is there: names, kinds, inodes, links and contents.
snapshot() {
  find . -printf '%p %y %i %s %l\n' | LC_ALL=C sort
  find . -type f -exec cat {} + | cksum
}

# refused STATUS "WORD WORD ..." ARGS...: the words are in one line, and everything is as it was.
refused() {
  local wanted=$1 words=$2 bad= word
  shift 2
  run "$@"
  checks=$((checks + 1))
  [ "$status" = "$wanted" ] || bad="status $status, not $wanted"
  for word in $words; do head -n 1 ../err.txt | grep -qF -- "$word" || bad="$bad, $word is not in the first line"; done
  [ "$(snapshot)" = "$before" ] || bad="$bad, the folder is not as it was"
  [ ! -s ../out.txt ] || bad="$bad, something on standard output"
  [ -z "$bad" ] && return
  fail "reap $*: ${bad#, }"
  before=$(snapshot)
}

# ------------------------------------------------------------------ outputs that are inputs, or no files

# Nothing is read before the check: short files will do.
inputs=(m.onnx c.h5 e.h5 s.h5 t.h5 a.h5 plan.json paths.h5 times.json)
for name in "${inputs[@]}"; do echo "precious $name" >"$name"; done
mkdir folder other
for name in "${inputs[@]}"; do
  ln -s "$name" "link-$name"
  ln -s "$PWD/link-$name" "other/twice-$name"
  ln "$name" "hard-$name"
done
ln -s "$PWD" here
mkfifo pipe
device=/dev/null # replaced by nobody but root
if [ "$(id -u)" = 0 ]; then
  device=./null
  mknod null c 1 3 2>/dev/null || device=
fi

# COMMAND AND ITS INPUTS | inputs as they stand there | outputs
cases=(
  "eval m.onnx --data e.h5 --against a.h5|m.onnx e.h5 a.h5|--outputs --report"
  "prune m.onnx --calib c.h5 --eval e.h5 --plan plan.json|m.onnx c.h5 e.h5 plan.json|-o --onnx --report --save-stats --activations --save-plan --save-paths"
  "prune m.onnx --from-stats s.h5 --flops 0.5 --from-paths paths.h5|m.onnx s.h5 paths.h5|-o --report --save-plan"
  "prune m.onnx --calib c.h5 --latency 0.5 --latency-table times.json|times.json|-o --save-plan"
  "sweep m.onnx --calib c.h5 --eval e.h5 --flops 0.5,0.6|m.onnx c.h5 e.h5|-o"
  "sweep m.onnx --from-stats s.h5 --latency 0.5 --latency-table times.json --from-paths paths.h5|s.h5 times.json paths.h5|-o"
  "stats m.onnx --calib c.h5|m.onnx c.h5|-o --activations"
  "stats --from a.h5|a.h5|-o"
  "paths m.onnx --calib c.h5|m.onnx c.h5|-o"
  "paths m.onnx --from-stats s.h5|s.h5|-o"
  "merge s.h5 t.h5|s.h5 t.h5|-o"
  "solve s.h5 --keep 0.5|s.h5|-o"
  "export m.onnx|m.onnx|"
  "bench layers m.onnx|m.onnx|-o"
)
spellings=(NAME ./NAME .//NAME "$PWD/NAME" here/NAME other/../NAME link-NAME other/twice-NAME hard-NAME here/hard-NAME)
ending() { # of an output's option in a command
  case $2 in
    --report|--save-plan) echo .json ;;
    --onnx|'') echo .onnx ;;
    *) [ "$1" = bench ] && echo .json || echo .h5 ;;
  esac
}
# given OPTION FILE: the words of an output, which export names without an option.
given() { if [ -n "$1" ]; then echo "$1 $2"; else echo "$2"; fi; }

before=$(snapshot)
turn=0
for line in "${cases[@]}"; do
  IFS='|' read -r words names options <<<"$line"
  read -ra base <<<"$words"
  read -ra outputs <<<"$options"
  [ ${#outputs[@]} -gt 0 ] || outputs=('')
  # what the command cannot do without, where another output is the one in question
  fill() { [ "$1" = -o ] || [[ " ${outputs[*]} " != *" -o "* ]] || echo "-o new.h5"; }
  for option in "${outputs[@]}"; do
    end=$(ending "${base[0]}" "$option")
    read -ra rest <<<"$(fill "$option")"
    [ "${base[0]}" = export ] && rest=()
    for name in $names; do
      for spelling in "${spellings[@]}"; do
        turn=$((turn + 1))
        # on one rank every input of every option in one spelling or two, in turns
        [ $((turn % (ranks == 1 ? 11 : 61))) = 0 ] || continue
        file=${spelling//NAME/$name}
        read -ra last <<<"$(given "$option" "$file")"
        refused 2 "$file $name" "${base[@]}" "${rest[@]}" "${last[@]}"
      done
    done
    # what is no place for a file: all of it with reap prune on one rank, elsewhere in turns
    places=(folder pipe "nowhere/new$end" "$device" -)
    for k in "${!places[@]}"; do
      place=${places[k]} words=${places[k]} code=3
      [ -n "$place" ] || continue
      [ "${base[0]}$ranks" = prune1 ] || [ $(((turn + k) % (ranks == 1 ? 3 : 13))) = 0 ] || continue
      if [ "$place" = - ]; then
        [ "$end" != .json ] || continue
        words="standard output" code=2
      fi
      read -ra last <<<"$(given "$option" "$place")"
      refused $code "$words" "${base[@]}" "${rest[@]}" "${last[@]}"
    done
  done
done
check "the device is one still" [ -z "$device" -o -c "${device:-.}" ]

# Outputs that are other outputs, there already or not.
prune=(prune m.onnx --calib c.h5 --keep 0.5)
eval=(eval m.onnx --data e.h5)
refused 2 "new.h5 named" "${prune[@]}" -o new.h5 --save-stats ./new.h5
refused 2 "new.json named" "${prune[@]}" -o new.h5 --report new.json --save-plan here/new.json
if [ "$ranks" = 1 ]; then
  echo old >old.h5
  ln old.h5 hard-old.h5
  ln -s nothing.h5 dangling.h5
  before=$(snapshot)
  refused 2 "old.h5 hard-old.h5" "${prune[@]}" -o old.h5 --activations hard-old.h5
  refused 2 "dangling.h5 nothing.h5" "${prune[@]}" -o dangling.h5 --save-paths other/../nothing.h5
  refused 2 "new.h5" stats m.onnx --calib c.h5 -o new.h5 --activations new.h5
  refused 2 "new.json" "${eval[@]}" --outputs new.json --report new.json
  refused 2 "--report --save-plan" "${prune[@]}" -o new.h5 --report - --save-plan -
  # names that promise another form
  refused 2 "new.onnx HDF5" "${eval[@]}" --outputs new.onnx
  refused 2 "new.ONNX HDF5" stats m.onnx --calib c.h5 -o new.ONNX
  refused 2 "new.json HDF5" "${prune[@]}" -o new.json
  refused 2 "new.h5 ONNX" "${prune[@]}" -o new.hdf5 --onnx new.h5
  refused 2 "new.h5 ONNX" export m.onnx new.h5
  refused 2 "new.h5 JSON" "${eval[@]}" --report new.h5
  refused 2 "new.onnx HDF5" sweep m.onnx --calib c.h5 --eval e.h5 --flops 0.5 -o new.onnx
  refused 2 "a.onnx b.onnx" "${prune[@]}" -o a.onnx --onnx b.onnx
  # where the shell has led what the program prints
  "$program" "${eval[@]}" --report printed.json >printed.json 2>../err.txt
  check "standard output is not replaced" [ "$?" = 2 ]
  says "standard output"
  rm printed.json
  if [ "$(id -u)" != 0 ]; then
    mkdir closed
    chmod a-w closed
    before=$(snapshot)
    refused 3 "closed/new.h5" "${prune[@]}" -o closed/new.h5
    refused 3 "closed/new.json" "${eval[@]}" --report closed/new.json
  else
    echo "SKIPPED folders that cannot be written: root can"
  fi
fi
for name in "${inputs[@]}"; do check "$name is as it was" grep -qx "precious $name" "$name"; done

# ------------------------------------------------------------------ a network in several files

mkdir -p "$scratch/runs/nested"
cd "$scratch/runs" || exit 1
cp "$fashion/vgg-fashion.onnx" m.onnx
"$maker" . || { echo "FAILED: test files could not be made"; exit 1; }
if [ -n "$python" ] && "$python" -c 'import onnx' 2>/dev/null; then
  "$python" - <<'PYTHON' || fail "a network with external data could not be made"
import onnx
model = onnx.load("m.onnx")
onnx.save_model(model, "nested/external.onnx", save_as_external_data=True, all_tensors_to_one_file=True, location="weights.bin", size_threshold=0)
PYTHON
  before=$(snapshot)
  refused 2 "weights.bin MODEL's" eval nested/external.onnx --data few.h5 --report nested/./weights.bin
  if [ "$ranks" = 1 ]; then
    refused 2 "weights.bin MODEL's" prune nested/external.onnx --calib few.h5 --keep 0.5 --save-stats nested/weights.bin -o new.h5
    refused 2 "weights.bin MODEL's" export nested/external.onnx nested/weights.bin
    refused 2 "weights.bin --against's" eval m.onnx --against nested/external.onnx --data few.h5 --outputs nested/weights.bin
  fi
else
  echo "SKIPPED external data: there is no Python with onnx"
fi

# ------------------------------------------------------------------ forms, links, standard output

quick=(--images 60 --positions 2 --keep 0.5 --producers 0 --repair off --progress none)
works prune m.onnx --calib sound.h5 "${quick[@]}" -o one.onnx
check "-o alone, by its ending ONNX" [ "$(head -c 8 one.onnx | od -An -tx1 | tr -d ' \n')" != 894844460d0a1a0a ]
works prune m.onnx --calib sound.h5 "${quick[@]}" --onnx two.onnx
check "--onnx alone" cmp one.onnx two.onnx
if [ "$ranks" = 1 ]; then
  works prune m.onnx --calib sound.h5 "${quick[@]}" -o named-otherwise
  check "any other ending is HDF5" [ "$(head -c 8 named-otherwise | od -An -tx1 | tr -d ' \n')" = 894844460d0a1a0a ]
  works export named-otherwise three.onnx
  check "the same network" cmp one.onnx three.onnx
fi
echo old >target.onnx
ln -s target.onnx linked.onnx
works prune m.onnx --calib sound.h5 "${quick[@]}" -o linked.onnx --report linked.json
check "a link stays" [ -L linked.onnx ]
check "what it leads to is replaced" cmp one.onnx target.onnx
says "to be replaced when the run is done: linked.onnx"
check "what is new is not said to be replaced" [ "$(grep -c linked.json ../err.txt)" = 0 ]

is_json() { # KEY: standard output is one JSON object that has the key
  checks=$((checks + 1))
  if [ -z "$python" ]; then
    [ "$(head -c 1 ../out.txt)" = '{' ] && [ "$(tail -n 1 ../out.txt)" = '}' ] && grep -q "\"$1\"" ../out.txt || fail "standard output is not JSON"
  else
    "$python" -c 'import json, sys; assert sys.argv[1] in json.load(open("../out.txt"))' "$1" || fail "standard output is not JSON with $1"
  fi
}
works eval m.onnx --data few.h5 --report - --progress json --log-level debug
is_json baseline
check "progress is JSON and nothing else" [ "$(grep -c '^{"event":' ../err.txt)" = "$(wc -l <../err.txt)" ]
works eval m.onnx --data few.h5 --report - --progress lines
is_json baseline
check "the table goes to standard error" grep -q '^multiply-adds' ../err.txt
works prune m.onnx --calib sound.h5 "${quick[@]}" --onnx one.onnx --report -
is_json changed_inputs
if [ "$ranks" != 3 ]; then
  works prune m.onnx --calib sound.h5 "${quick[@]}" --onnx one.onnx --save-plan - --report r.json
  is_json groups
  works bench layers m.onnx -o - --progress none
  is_json layers
  works inspect m.onnx --json
  is_json groups
  works bench solve --n 64 --block 4 --m 8 --json
  is_json command
fi
check "no file is named -" [ ! -e - ]

# ------------------------------------------------------------------ inputs that change while a run lasts

# meanwhile WHAT IMAGES: runs reap prune, and does change_WHAT to c.h5 once the pruning has begun. If the run was over first: again, with
# more images.
change_gone() { rm c.h5; }
change_replaced() { cp few.h5 new.h5 && mv new.h5 c.h5; }
meanwhile() {
  local images=$2 pid
  for (( ; images <= 2000; images *= 2)); do
    cp "$fashion/fashion-calib.h5" c.h5
    rm -f kept.*
    : >../err.txt
    "${launch[@]}" "$program" prune m.onnx --calib c.h5 --images "$images" --keep 0.5 --progress lines -o kept.h5 --report kept.json >../out.txt 2>../err.txt &
    pid=$!
    until grep -q 'left  ' ../err.txt || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
    "change_$1"
    if kill -0 $pid 2>/dev/null && [ ! -e kept.json ]; then
      status=0
      wait $pid || status=$?
      return
    fi
    wait $pid
  done
  status="over too soon"
}
original=$(sha256sum "$fashion/fashion-calib.h5" | cut -d' ' -f1)
for what in gone replaced; do
  [ "$ranks" = 1 ] || [ $what = gone ] || continue
  meanwhile $what 250
  check "calibration images $what meanwhile: status $status" [ "$status" = 0 ]
  check "$what meanwhile: the result is there" [ -s kept.h5 ]
  check "$what meanwhile: the report has the hash of what was read" grep -q "$original" kept.json
  check "$what meanwhile: the report tells" [ "$(tr -d ' \t\n' <kept.json | grep -c '"changed_inputs":\["c.h5"\]')" = 1 ]
  says "warning: --calib c.h5"
done
if [ "$ranks" != 3 ]; then
  cp "$fashion/vgg-fashion.onnx" moving.onnx
  "${launch[@]}" "$program" sweep moving.onnx --calib sound.h5 --images 60 --keep 0.9,0.8,0.7 --groups 1 --save-models onnx -o G.h5 >../out.txt 2>../err.txt &
  pid=$!
  until ls G.h5.d/*.h5 >/dev/null 2>&1 || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
  rm moving.onnx
  status=0
  wait $pid || status=$?
  check "a network removed during a sweep: status $status" [ "$status" = 0 ]
  says "warning: MODEL moving.onnx is gone"
  check "a network removed during a sweep: all models are there" [ "$(find G.h5.d -name '*.onnx' | wc -l)" = 3 ]
fi

# ------------------------------------------------------------------ two runs on one output

unset OMPI_MCA_ess_singleton_isolated # of processes without Open MPI's daemon only one at a time may use a session folder
random=(prune m.onnx --calib sound.h5 --images 60 --positions 2 --method random --refit none --keep 0.5 --progress none --log-level quiet)
for seed in 1 2; do works "${random[@]}" --seed $seed -o model-$seed.h5 --onnx model-$seed.onnx; done
works eval model-1.onnx --data sound.h5 --progress none --outputs outputs-1.h5
works eval model-2.onnx --data sound.h5 --progress none --outputs outputs-2.h5
one_of() { # FILE A B
  cmp -s "$1" "$2" || cmp -s "$1" "$3"
}
# Stored outputs bear the time in them: where h5diff is missing their lengths have to do.
one_of_outputs() {
  if command -v h5diff >/dev/null; then
    h5diff -q "$1" "$2" /outputs || h5diff -q "$1" "$3" /outputs
  else
    [ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ]
  fi
}
pairs=4
[ "$ranks" = 1 ] || pairs=2
[ -z "${REAP_TEST_LONG:-}" ] || pairs=50
damaged=0
# Open MPI, when it ends, removes the session folder in which another run may just make its own: each has one to itself.
sessions=${OMPI_MCA_orte_tmpdir_base:-${TMPDIR:-/tmp}}
damage() { # what is wrong with pair k
  damaged=$((damaged + 1))
  echo "pair $k: $1; statuses $codes; $(tail -q -n 3 ../pair-1.txt ../pair-2.txt)"
}
for ((k = 0; k < pairs; k++)); do
  codes=
  rm -f both.*
  for seed in 1 2; do
    session=$sessions/pair-$seed
    mkdir -p "$session"
    if [ $((k % 2)) = 0 ]; then
      OMPI_MCA_orte_tmpdir_base=$session "${launch[@]}" "$program" "${random[@]}" --seed $seed -o both.h5 --onnx both.onnx >/dev/null 2>../pair-$seed.txt &
    else
      OMPI_MCA_orte_tmpdir_base=$session "${launch[@]}" "$program" eval model-$seed.onnx --data sound.h5 --progress none --outputs both.h5 >/dev/null 2>../pair-$seed.txt &
    fi
    pids[seed]=$!
  done
  for seed in 1 2; do
    wait "${pids[seed]}"
    codes+=$?
  done
  if [ $codes != 00 ]; then
    damage "a run failed"
  elif [ $((k % 2)) = 0 ]; then
    "$program" export both.h5 exported.onnx >/dev/null 2>&1 && one_of exported.onnx model-1.onnx model-2.onnx &&
      one_of both.onnx model-1.onnx model-2.onnx || damage "a file is of neither run"
  else
    one_of_outputs both.h5 outputs-1.h5 outputs-2.h5 || damage "the outputs are of neither run"
  fi
done
check "$damaged of $pairs pairs of runs on one output are not whole and of one run" [ $damaged = 0 ]
echo "$((pairs - damaged)) of $pairs pairs of runs on one output left whole files"
check "nothing left behind" [ -z "$(find . -name '*.tmp*')" ]

# ------------------------------------------------------------------ two sweeps at once

sweep=(sweep m.onnx --calib sound.h5 --images 60 --method random --refit none --keep 0.9,0.8 --progress none)
if [ -n "$python" ] && [ "$ranks" != 3 ]; then
  mkdir -p H.h5.d
  "$python" - <<'PYTHON' &
import fcntl, time
lock = open("H.h5.d/lock", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
lock.write("process 77 on host elsewhere")
lock.flush()
open("locked", "w").close()
time.sleep(600)
PYTHON
  holder=$!
  until [ -e locked ] || ! kill -0 $holder; do sleep 0.05; done
  run "${sweep[@]}" -o H.h5
  check "a sweep into a folder in use: status $status" [ "$status" = 3 ]
  says "H.h5.d is in use: process 77 on host elsewhere holds"
  works "${sweep[@]}" --no-merge -o H.h5
  kill -KILL $holder
  wait $holder 2>/dev/null
  works "${sweep[@]}" -o H.h5
  check "the lock is gone with the sweep" [ ! -e H.h5.d/lock ]
fi
if [ "$ranks" = 1 ]; then
  for k in 1 2; do
    "$program" "${sweep[@]}" --seed 0,1 -o T.h5 >/dev/null 2>"../err-$k.txt" &
    pids[k]=$!
  done
  good=0
  for k in 1 2; do
    code=0
    wait "${pids[k]}" || code=$?
    [ $code = 0 ] && good=$((good + 1))
    [ $code = 0 ] || { [ $code = 3 ] && grep -q 'T.h5.d is in use' "../err-$k.txt"; } || fail "two sweeps at once: status $code"
  done
  check "of two sweeps at once one comes to its end" [ $good -ge 1 ]
  works "${sweep[@]}" --seed 0,1 -o T.h5
  says "4 of 4 settings are done already"
fi

# ------------------------------------------------------------------ what killed runs leave

if [ "$ranks" = 1 ]; then
  for ((tries = 0; tries < 20; tries++)); do
    rm -f killed.h5*
    "$program" eval m.onnx --data many.h5 --progress none --outputs killed.h5 >/dev/null 2>&1 &
    pid=$!
    until ls killed.h5*.tmp >/dev/null 2>&1 || ! kill -0 $pid 2>/dev/null; do :; done
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    ls killed.h5*.tmp >/dev/null 2>&1 && break
  done
  check "a killed run leaves a file that can be told" [ "$(ls killed.h5.*."$pid".tmp 2>/dev/null | wc -l)" = 1 ]
  works eval m.onnx --data few.h5 --progress none --outputs killed.h5
  says "left by a run that was killed"
  check "the next run removes it" [ -z "$(ls killed.h5.*.tmp 2>/dev/null)" ]
fi

finish
