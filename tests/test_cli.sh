#!/usr/bin/env bash
# The program as its users meet it: exit statuses, messages, files written or left alone.
#
#   test_cli.sh PROGRAM MAKER SCRATCH RANKS      MAKER: tests/make_cli_files.c, built
#
# On one rank the program is started without mpirun. Starting it costs most of the time, so that on two ranks a part of the
# failing commands is left out, and on more than one rank most usage errors. What the others say is kept in
# SCRATCH/messages-RANKS; test_cli.sh --compare SCRATCH A B tells whether rank count B said nothing that A did not say.
set -uo pipefail
if [ "$1" = --compare ]; then
  [ -s "$2/messages-$3" ] && [ -s "$2/messages-$4" ] || { echo "messages of $3 or $4 ranks are missing"; exit 1; }
  one_line_each() { tr '\n' '\t' <"$1" | sed 's/\t@/\n@/g' | sort; }
  new=$(comm -13 <(one_line_each "$2/messages-$3") <(one_line_each "$2/messages-$4"))
  [ -z "$new" ] || { printf 'not said on %s ranks:\n%s\n' "$3" "$new"; exit 1; }
  echo "$(grep -c '^@' "$2/messages-$4") commands say on $4 ranks what they say on $3"
  exit
fi
program=$1 maker=$2 ranks=$4
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
messages=$3/messages-$ranks
rm -f "$messages"
fresh "$3/ranks-$ranks"
"$maker" . || { echo "FAILED: test files could not be made"; exit 1; }

no_leftovers() {
  local left
  left=$(find . -name '*.tmp*')
  [ -z "$left" ] || { fail "left behind by $*: $left"; find . -name '*.tmp*' -delete; }
}

# wrong "WORDS" ARGS...: a usage error. One line that contains the words, one that points to --help, nothing else.
wrong() {
  local words=$1
  shift
  run "$@"
  checks=$((checks + 1))
  local bad=
  [ "$status" = 2 ] || bad="status $status"
  [ "$(wc -l <err.txt)" = 2 ] || bad="$bad, $(wc -l <err.txt) lines"
  head -n 1 err.txt | grep -qF -- "$words" || bad="$bad, the first line does not say: $words"
  head -n 1 err.txt | grep -q '^reap' || bad="$bad, the first line does not begin with reap"
  tail -n 1 err.txt | grep -q '^try "reap.* --help"$' || bad="$bad, the second line does not point to --help"
  [ ! -s out.txt ] || bad="$bad, something on standard output"
  { echo "@ reap $*"; cat err.txt; } >>"$messages"
  [ -z "$bad" ] || fail "usage error of \"reap $*\": ${bad#, }"
  no_leftovers "$*"
}

# refused FILE "WORDS" ARGS...: status 3 and one line that names the file and contains the words (warnings aside, and what would have
# been replaced).
refused() {
  local file=$1 words=$2 bad=
  shift 2
  run "$@" --progress none
  checks=$((checks + 1))
  grep -v -e '^reap: warning: ' -e '^reap: to be replaced' err.txt >lines.txt
  [ "$status" = 3 ] || bad="status $status"
  [ "$(wc -l <lines.txt)" = 1 ] || bad="$bad, $(wc -l <lines.txt) lines"
  grep -q '^reap: ' lines.txt || bad="$bad, the line does not begin with reap:"
  grep -qF -- "$file" lines.txt || bad="$bad, $file is not named"
  grep -qF -- "$words" lines.txt || bad="$bad, it does not say: $words"
  { echo "@ reap $*"; cat lines.txt; } >>"$messages"
  [ -z "$bad" ] || fail "\"reap $*\": ${bad#, }"
  no_leftovers "$*"
}

# The N-th number of that name in a JSON file of cJSON's (one entry a line).
number() { grep -o "\"$2\":[[:space:]]*[-0-9.e+nul]*" "$1" | sed 's/.*:[[:space:]]*//' | sed -n "${3:-1}p"; }

same_numbers() { # FILE FILE NAME [N [N]]
  local a b
  a=$(number "$1" "$3" "${4:-1}") b=$(number "$2" "$3" "${5:-1}")
  checks=$((checks + 1))
  if [ -z "$a" ] || [ "$a" != "$b" ]; then fail "$3 is \"$a\" in $1 and \"$b\" in $2"; fi
}

find_python json /usr/bin/python3 python3

# ------------------------------------------------------------------ help and versions

works --help || { cat err.raw; exit 1; } # nothing else would work
check "--help: once" [ "$(grep -c '^usage:' out.txt)" = 1 ]
cp out.txt help.txt
for command in inspect eval prune solve export paths; do
  works "$command" --help
  check "$command --help: usage comes first" grep -q "^usage: reap $command " <(head -n 1 out.txt)
  check "$command --help: once, not once per rank" [ "$(grep -c '^usage:' out.txt)" = 1 ]
  check "$command --help: nothing on standard error" [ ! -s err.txt ]
  check "reap --help lists $command" grep -q "reap $command " help.txt
done
works prune -h --keep nonsense
for option in --calib --output --onnx --eval --report --keep --flops --method --refit --scope --exclude --images --positions \
              --ridge --solver --seed --threads --kernels --progress --log-level; do
  check "prune --help tells $option" grep -qe "$option " out.txt
done
works --version
check "--version: once" [ "$(grep -c '^reap [0-9]' out.txt)" = 1 ]
check "--version: libraries" [ "$(grep -cE "^(reap [0-9.]+( \(commit [0-9a-f]+(-dirty)?\))?$|MPI|HDF5 +[0-9]|LAPACK +[0-9]|ScaLAPACK +lib)" out.txt)" = 5 ]

# ------------------------------------------------------------------ usage errors

wrong "a command is missing"
wrong '"frobnicate"' frobnicate
wrong '"--frobnicate"' inspect "$vgg" --frobnicate
wrong "flops 1e-05 cannot be reached: with the fewest channels allowed in every prunable group 0.0006 are left (see --flops)" prune "$vgg" --calib sound.h5 -o out.h5 --flops 0.00001
if [ "$ranks" = 1 ]; then
  wrong "MODEL is missing" inspect
  wrong '"another"' inspect "$vgg" another
  wrong "--data is missing" eval "$vgg"
  wrong "--data wants a value" eval "$vgg" --data
  wrong "--images wants a whole number of at least 1, not \"0\"" eval "$vgg" --data sound.h5 --images 0
  wrong "--images wants a whole number of at least 1, not \"5x\"" eval "$vgg" --data sound.h5 --images=5x
  wrong "--kernels wants one of auto|plain|onednn, not \"cuda\"" eval "$vgg" --data sound.h5 --kernels cuda
  wrong "--calib is missing" prune "$vgg" --keep 0.5 -o out.h5
  wrong "-o is missing" prune "$vgg" --keep 0.5 --calib sound.h5
  wrong "--keep, --flops, --params, --latency, --plan and --max-kl or --max-drop" prune "$vgg" --calib sound.h5 -o out.h5
  wrong "--keep, --flops, --params, --latency, --plan and --max-kl or --max-drop" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --flops 0.5
  wrong "--keep wants a share above 0" prune "$vgg" --calib sound.h5 -o out.h5 --keep 1.5
  wrong "--keep wants a share above 0" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0
  wrong "--flops wants a share above 0" prune "$vgg" --calib sound.h5 -o out.h5 --flops -0.5
  wrong "--keep wants a share" prune "$vgg" --calib sound.h5 -o out.h5 --keep half
  wrong "--keep wants a share" prune "$vgg" --calib sound.h5 -o out.h5 --keep nan
  wrong "--method wants one of" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --method best
  wrong "--refit wants one of" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --refit maybe
  wrong "--positions wants" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --positions none
  wrong "--ridge wants" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --ridge -1
  wrong "--seed wants" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --seed -1
  wrong "--repair on" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --repair on --refit none
  wrong "--from-stats" prune "$vgg" --from-stats stats.h5 -o out.h5 --keep 0.5 --repair on
  wrong "--repair" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --repair maybe
  wrong "--producers" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --producers 2 --repair off
  wrong "--producers" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --producers -1
  wrong "--classifier scale" prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --classifier scale --repair off
  wrong "named twice" prune "$vgg" --calib sound.h5 -o same.h5 --report same.h5 --keep 0.5
  wrong "named twice" prune "$vgg" --calib sound.h5 -o sound.h5 --keep 0.5
  wrong '"nosuch" is given a kind' prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --output-kind nosuch=scores
  wrong 'not "boxes"' eval "$vgg" --data sound.h5 --output-kind logits=boxes
  wrong 'not ""' inspect "$vgg" --output-kind logits
  wrong "cannot be scores" inspect "$source/tests/references/kernels/average_pool_2x2.onnx" --output-kind output=scores
  wrong '"nosuchlayer"' prune "$vgg" --calib sound.h5 -o out.h5 --keep 0.5 --exclude nosuchlayer
  wrong "-o is missing" solve stats.h5 --keep 0.5
  wrong "--keep is missing" solve stats.h5 -o path.h5
  wrong "OUT.onnx is missing" export out.h5
fi

# ------------------------------------------------------------------ unusable input

head -c 20000 "$vgg" >truncated.onnx
: >empty.onnx
mkdir folder.onnx
head -c 3000 "$fashion/fashion-test.h5" >truncated.h5
cp "$source/README.md" text.onnx
refused nosuch.onnx "No such file" eval nosuch.onnx --data sound.h5
if [ "$ranks" != 2 ]; then
  refused truncated.onnx "" eval truncated.onnx --data sound.h5
  refused empty.onnx "empty" eval empty.onnx --data sound.h5
  refused folder.onnx "regular file" eval folder.onnx --data sound.h5
  refused text.onnx "ONNX" eval text.onnx --data sound.h5
  refused sound.h5 "reap-model" eval sound.h5 --data sound.h5
  refused truncated.onnx "" prune truncated.onnx --calib sound.h5 --keep 0.5 -o out.h5
  refused nosuch.h5 "No such file" eval "$vgg" --data nosuch.h5
  refused truncated.h5 "" eval "$vgg" --data truncated.h5
  refused vgg-fashion.onnx "HDF5" eval "$vgg" --data "$vgg"
  refused folder.onnx "regular file" eval "$vgg" --data folder.onnx
  refused stats.h5 "images" eval "$vgg" --data stats.h5
  refused shape.h5 "3 x 32 x 32" eval "$vgg" --data shape.h5
fi
refused shape.h5 "3 x 32 x 32" prune "$vgg" --calib shape.h5 --keep 0.5 -o out.h5
refused shape.h5 "3 x 32 x 32" prune "$vgg" --calib sound.h5 --eval shape.h5 --keep 0.5 -o out.h5
refused nan.h5 "image 101" eval "$vgg" --data nan.h5
refused infinite.h5 "image 3" eval "$vgg" --data infinite.h5
refused nan.h5 "image 101" prune "$resnet" --calib nan.h5 --keep 0.5 -o out.h5 --onnx out.onnx --report out.json
refused nan.h5 "image 101" prune "$resnet" --calib few.h5 --positions 2 --eval nan.h5 --keep 0.5 -o out.h5 --onnx out.onnx --report out.json
check "nothing was written by failing runs" [ -z "$(ls out.* 2>/dev/null | grep -v 'out.txt')" ]
refused softmax.onnx "no channel group that can be pruned here (see reap inspect)" prune "$source/tests/references/kernels/softmax.onnx" --calib few.h5 --keep 0.5 -o out.h5
refused nosuch.h5 "No such file" solve nosuch.h5 --keep 0.5 -o path.h5
refused sound.h5 "reap-stats" solve sound.h5 --keep 0.5 -o path.h5
check "no path was written by failing runs" [ ! -e path.h5 ]

# ------------------------------------------------------------------ unusable output

refused nowhere/out.h5 "" prune "$resnet" --calib few.h5 --keep 0.5 -o nowhere/out.h5
if [ "$ranks" != 2 ]; then
  refused sound.h5/out.onnx "" prune "$resnet" --calib few.h5 --keep 0.5 -o out.h5 --onnx sound.h5/out.onnx
  refused sound.h5/out.json "" prune "$resnet" --calib few.h5 --keep 0.5 -o out.h5 --report sound.h5/out.json
  refused folder.onnx "" prune "$resnet" --calib few.h5 --keep 0.5 -o folder.onnx
  refused nowhere/o.h5 "" eval "$resnet" --data few.h5 --outputs nowhere/o.h5
  refused nowhere/r.json "" eval "$resnet" --data few.h5 --report nowhere/r.json
  refused nowhere/path.h5 "" solve stats.h5 --keep 0.5 -o nowhere/path.h5
fi
check "no other output was written" [ ! -e out.h5 ]

# What was there stays as it was when a run fails.
for name in kept.h5 kept.onnx kept.json; do echo "precious" >"$name"; done
refused nan.h5 "image 101" prune "$resnet" --calib nan.h5 --keep 0.5 -o kept.h5 --onnx kept.onnx --report kept.json
refused nan.h5 "image 101" eval "$resnet" --data nan.h5 --outputs kept.h5 --report kept.json
for name in kept.h5 kept.onnx kept.json; do check "$name is as it was" grep -qx precious "$name"; done

# ------------------------------------------------------------------ prune, eval, export, eval

works prune "$resnet" --calib "$fashion/fashion-calib.h5" --images 300 --positions 6 --keep 0.5 -o p.h5 --report p.json \
  --eval few.h5 --progress json --log-level warning
cp err.txt progress.txt
check "progress tells each of the nine groups and eleven repaired layers" [ "$(grep -c '"detail"' progress.txt)" = 20 ]
check "the report tells of repaired layers" [ "$(grep -c '"relative_error_before"' p.json)" = 11 ]
check "and of the producers solved with the nine pruned layers" [ "$(grep -c '"alone_relative_error"' p.json)" = 9 ]
check "a table is printed" grep -q '^multiply-adds' out.txt
works eval p.h5 --data few.h5 --report p-eval.json --outputs p-out.h5 --progress none
works export p.h5 p.onnx
check "export tells what it wrote" grep -q 'p.onnx' out.txt
works eval p.onnx --data few.h5 --report x-eval.json --outputs x-out.h5 --progress none
for name in top1 top5 loss flops params; do
  same_numbers p-eval.json x-eval.json "$name"
  same_numbers p.json p-eval.json "$name" 2 1 # pruned comes second
done
works eval p.onnx --against "$resnet" --data few.h5 --report a-eval.json --progress none
check "the distance to the original is printed" grep -q '^KL to original ' out.txt
for name in top1 top5 loss flops params; do
  same_numbers p.json a-eval.json "$name" 1 1
  same_numbers p.json a-eval.json "$name" 2 2
done
same_numbers p.json a-eval.json kl
same_numbers p.json a-eval.json output_error
check "a pruned network's output has moved" awk -v kl="$(number p.json kl)" 'BEGIN { exit !(kl > 0 && kl < 5) }'
works eval "$resnet" --against "$resnet" --data few.h5 --report s-eval.json --progress none
works eval p.onnx --against "$resnet" --data few.h5 --report k-eval.json --progress none --output-kind logits=values
check "outputs said to be values have no KL" [ "$(number k-eval.json kl)$(number k-eval.json kl 2)" = nullnull ]
same_numbers a-eval.json k-eval.json output_error
check "a network is where it is" [ "$(number s-eval.json kl)$(number s-eval.json output_error)" = 00 ]
refused nosuch.onnx "No such file" eval p.onnx --against nosuch.onnx --data few.h5
if command -v h5diff >/dev/null; then
  check "outputs of the .h5 and of the .onnx are equal" h5diff p-out.h5 x-out.h5 /outputs
else
  echo "SKIPPED comparison of outputs: there is no h5diff (hdf5-tools)"
fi
works inspect p.onnx
check "inspect names the layers" grep -q 'conv2' out.txt
works inspect p.h5 --json
if [ -n "$python" ]; then
  "$python" - "$ranks" <<'PYTHON' || fail "the report or the progress is not as promised"
import json, sys

report, evaluated, inspected = json.load(open("p.json")), json.load(open("p-eval.json")), json.load(open("out.txt"))
assert report["ranks"] == int(sys.argv[1]) and report["command"].startswith("reap prune ")
for key in ("reap_version", "command", "ranks", "seconds", "baseline", "pruned", "layers"):
    assert key in report, key
assert "total" in report["seconds"] and len(report["seconds"]) > 3
for part in (report["baseline"], report["pruned"], evaluated["baseline"]):
    for key in ("top1", "top5", "loss", "flops", "params"):
        assert isinstance(part[key], (int, float)), key
    assert 0 <= part["top1"] <= part["top5"] <= 1
assert "pruned" not in evaluated and "baseline" in evaluated
assert len(report["layers"]) == 9
for layer in report["layers"]:
    for key in ("name", "group", "channels", "kept", "relative_error", "held_out_error", "predicted_relative_error",
                "ridge", "solver", "seconds"):
        assert key in layer, key
    assert layer["kept"] == sorted(set(layer["kept"])) and len(layer["kept"]) == layer["channels"] // 2
    assert set(layer["kept"]) | set(layer["removed"]) == set(range(layer["channels"]))
assert report["pruned"]["flops"] < 0.6 * report["baseline"]["flops"]
for key in ("flops", "params", "layers", "groups"):
    assert key in inspected, key
assert inspected["flops"] == report["pruned"]["flops"] and inspected["params"] == report["pruned"]["params"]
for group in inspected["groups"]:
    assert set(group) >= {"name", "channels", "producers", "consumers", "prunable", "reason"}
    assert group["prunable"] == (group["reason"] is None)
    if group["prunable"]:
        assert len(group["producers"]) == len(group["consumers"]) == 1
events = [json.loads(line) for line in open("progress.txt")]
assert events[0]["event"] == "start" and (events[0]["format"], events[0]["version"]) == ("reap-progress", 1)
assert (events[-1]["event"], events[-1]["status"], events[-1]["share"], events[-1]["seconds_left"]) == ("end", "done", 1, 0)
for before, event in zip(events, events[1:]):
    assert before["share"] <= event["share"] and before["seconds"] <= event["seconds"]
    assert event["seconds_left"] is None or event["seconds_left"] > 0 or event is events[-1]
    assert event["event"] in ("phase", "progress", "log", "end")
    assert ("phase" in event) == (event["event"] in ("phase", "progress"))
    assert ("message" in event) == (event["event"] == "log")
assert [e["phase"] for e in events if e["event"] == "phase"] == ["prune", "evaluate", "write"]
assert all(e["share"] < 1 for e in events[:-1])
json.dump([[l["kept"], l["relative_error"], l["held_out_error"]] for l in report["layers"]], open("choice.json", "w"))
PYTHON
  checks=$((checks + 1))
  { echo "@ choice"; cat choice.json; echo; } >>"$messages" # the same on any number of ranks
else
  echo "SKIPPED the look at every key of the report: there is no python3"
fi
for key in reap_version command ranks seconds total baseline pruned layers name group channels kept relative_error \
           held_out_error predicted_relative_error ridge solver; do
  check "the report has $key" grep -q "\"$key\":" p.json
done

# Options that change what happens.
works prune "$resnet" --calib few.h5 --positions 2 --keep 0.5 --repair off -o off.h5 --report off.json --progress none --log-level quiet
check "--repair off: producers stay, no rounds and no seconds" [ "$(grep -c '"alone_relative_error"' off.json)$(grep -c '"producers":[[:space:]]*0,$' off.json)" = 02 ]
check "--repair off: none are repaired" [ "$(grep -c '"relative_error_before"' off.json)$(grep -c '"repair":.*false' off.json)" = 01 ]
works prune "$resnet" --calib few.h5 --positions 2 --keep 0.5 --exclude fc.Gemm -o off.h5 --report off.json --progress none --log-level quiet
check "few images held out: the classifier is left alone" [ "$(number off.json classifier)" = null ]
check "an excluded layer is not repaired" [ "$(grep -c '"relative_error_before"' off.json)$(grep -c '"name":.*"fc.Gemm"' off.json)" = 100 ]
works prune "$vgg" --calib "$fashion/fashion-calib.h5" --images 64 --positions 2 --flops 0.5 --method random --refit none \
  -o v.h5 --onnx v.onnx --report v.json --progress lines
check "lines of progress" grep -q '^reap: *[0-9]* %, .* left  prune .*: .* channels, error' err.txt
check "every phase begins with a line" [ "$(grep -cE '^reap: .*  (prune|write)$' err.txt)" = 2 ]
check "half the multiply-adds" awk -v a="$(number v.json flops 1)" -v b="$(number v.json flops 2)" \
  'BEGIN { exit !(b <= a / 2 && b > 0.48 * a) }'
check "accuracy is null without --eval" [ "$(number v.json top1 1)$(number v.json loss 2)" = nullnull ]
check "so is the distance to the original" [ "$(number v.json kl)$(number v.json output_error)" = nullnull ]
excluded=$(grep -o '"group":[[:space:]]*"[^"]*"' v.json | sed -n '1s/.*"\([^"]*\)"$/\1/p')
works prune "$vgg" --calib "$fashion/fashion-calib.h5" --images 64 --positions 2 --keep 0.5 --method l1 --refit none \
  --exclude "$excluded" -o e.h5 --report e.json --progress none --log-level quiet
works inspect "$vgg" --json
check "the excluded group stays whole" [ "$(grep -c '"group"' e.json)" = $(($(grep -c '"prunable":[[:space:]]*true' out.txt) - 1)) ]
check "--log-level quiet and --progress none: silence" [ ! -s err.txt ]

# Outputs scaled to the soft-max, where the images have labels or the user says so.
scaled() { # OPTIONS...: how many classifiers' scales were looked at
  works prune "$vgg" --positions 1 --method random --keep 0.2 -o c.h5 --report c.json --progress none --log-level quiet "$@"
  grep -c '"held_out_kl"' c.json
}
check "images with labels: the classifier's scale is looked at" [ "$(scaled --calib "$fashion/fashion-calib.h5" --images 500)" = 1 ]
check "--classifier keep: it is not" [ "$(scaled --calib "$fashion/fashion-calib.h5" --images 500 --classifier keep)" = 0 ]
check "no labels: it is not" [ "$(scaled --calib many.h5)" = 0 ]
check "--classifier scale: without labels too" [ "$(scaled --calib many.h5 --classifier scale)" = 1 ]

# Nothing to prune: the user's own file comes out, byte by byte. Pruned once more: a smaller one.
works prune "$resnet" --calib few.h5 --keep 1 -o whole.h5 --onnx whole.onnx --progress none
check "--keep 1 changes nothing" cmp whole.onnx "$resnet"
works prune p.h5 --calib few.h5 --positions 4 --keep 0.5 -o twice.h5 --report twice.json --progress none
check "a pruned network can be pruned again" [ "$(number twice.json flops 1)" = "$(number p.json flops 2)" ]
check "pruned again, it is smaller" [ "$(number twice.json flops 2)" -lt "$(number twice.json flops 1)" ]

# One image, none held out: errors on held-out images are unknown.
works prune "$resnet" --calib few.h5 --images 1 --keep 0.5 -o one.h5 --report one.json --progress none --log-level quiet
check "nothing held out: null" [ "$(number one.json held_out_error)" = null ]

works eval "$vgg" --data nolabels.h5 --report n.json --progress none
check "no labels: accuracy is null" [ "$(number n.json top1)$(number n.json top5)$(number n.json loss)" = nullnullnull ]
works eval "$vgg" --data sound.h5 --images 70 --report n.json --progress none
check "--images counts" [ "$(number n.json images)" = 70 ]

# ------------------------------------------------------------------ more ranks than blocks

works eval "$vgg" --data few.h5 --progress none
idle=$(grep -c "^reap: warning: .*stay idle" err.txt)
check "a warning tells of idle ranks, once" [ "$idle" = "$([ "$ranks" -gt 1 ] && echo 1 || echo 0)" ]

# ------------------------------------------------------------------ solve

works solve stats.h5 --keep 0.5 -o path.h5 --progress none
check "solve tells all layers" [ "$(grep -c 'relative error' out.txt)" = 4 ]
{ echo "@ solve"; cat out.txt; } >>"$messages"
run solve skewed.h5 --keep 0.5 -o bad.h5 --progress none
check "moments that cannot be: status 5" [ "$status" = 5 ]
check "moments that cannot be: the layer is named" grep -q 'small' err.txt
check "moments that cannot be: said once" [ "$(grep -c '^reap: ' err.txt)" = 1 ]
check "moments that cannot be: nothing written" [ ! -e bad.h5 ]
no_leftovers solve
oracle=${TEST_DATA_DIR:-}/oracle/reap_oracle.py
if [ ! -f "$oracle" ]; then
  echo "SKIPPED solve against the reference solver: no $oracle"
elif ! /usr/bin/python3 -c 'import h5py, numpy' 2>/dev/null; then
  echo "SKIPPED solve against the reference solver: /usr/bin/python3 has no h5py"
else
  for ridge in 1e-6 1e-3; do
    works solve stats.h5 --keep 0.5 --ridge $ridge -o path.h5 --progress none
    check "the reference solver agrees (ridge $ridge)" /usr/bin/python3 "$oracle" check stats.h5 path.h5 --keep 0.5 --ridge $ridge >oracle.txt
  done
fi

# ------------------------------------------------------------------ paths

# Neither moments in a file nor those by panels look for a ridge: what is compared with them takes the same one.
works paths "$resnet" --calib "$fashion/fashion-calib.h5" --images 200 --positions 6 --sizes 2 --ridge 1e-6 --progress none -o paths.h5
check "paths tells all groups" [ "$(grep -c 'Conv  ' out.txt)" = 9 ]
{ echo "@ paths"; grep -v '^time' out.txt; } >>"$messages"
works stats "$resnet" --calib "$fashion/fashion-calib.h5" --images 200 --positions 6 --progress none -o few-stats.h5

# Moments that no rank holds: the same file but for last digits, and the same channels from it and from images.
kept_of() { grep '"kept"' "$1"; }
works stats "$resnet" --calib "$fashion/fashion-calib.h5" --images 200 --positions 6 --panels --progress none -o few-panels.h5
works solve few-stats.h5 --keep 0.5 -o solved.h5 --solver local --progress none
cp out.txt solved.txt
works solve few-panels.h5 --keep 0.5 -o solved.h5 --solver local --progress none
check "moments by panels lead to the same errors" cmp -s solved.txt out.txt
works prune "$resnet" --from-stats few-stats.h5 --keep 0.5 --solver local -o spread.h5 --report whole.json --progress none
check "the report tells of whole moments" [ "$(grep -c '"moments":.*"whole"' whole.json)" = 9 ]
works prune "$resnet" --from-stats few-panels.h5 --keep 0.5 --solver scalapack -o spread.h5 --report spread.json --progress none
check "the report tells of panels" [ "$(grep -c '"moments":.*"panels"' spread.json)" = 9 ]
check "the same channels stay" [ "$(kept_of whole.json)" = "$(kept_of spread.json)" ]
works prune "$resnet" --calib "$fashion/fashion-calib.h5" --images 60 --positions 6 --keep 0.5 --ridge 1e-6 --solver local --repair off \
  -o spread.h5 --report whole.json --progress none
works prune "$resnet" --calib "$fashion/fashion-calib.h5" --images 60 --positions 6 --keep 0.5 --solver scalapack --repair off \
  -o spread.h5 --report spread.json --save-stats spread-stats.h5 --progress none
check "panels from images" [ "$(grep -c '"moments":.*"panels"' spread.json)" = 9 ]
check "the same channels stay, from images" [ "$(kept_of whole.json)" = "$(kept_of spread.json)" ]
works solve spread-stats.h5 --keep 0.5 -o solved.h5 --progress none
no_leftovers panels

works paths "$resnet" --from-stats few-stats.h5 --calib "$fashion/fashion-calib.h5" --images 200 --sizes 2 --progress none -o again.h5
if command -v h5diff >/dev/null; then
  check "paths from images and from stored moments are equal" h5diff paths.h5 again.h5 /groups
fi

# Paths of layers whose moments no rank holds, from images and piece by piece from a file, are those of the local route.
works paths "$resnet" --calib "$fashion/fashion-calib.h5" --images 200 --positions 6 --sizes 2 --solver scalapack --progress none -o all.h5
works paths "$resnet" --from-stats few-stats.h5 --calib "$fashion/fashion-calib.h5" --images 200 --sizes 2 --solver scalapack \
  --progress none -o pieces.h5
works paths "$resnet" --from-stats few-stats.h5 --progress none -o bare.h5
check "without images nothing is measured, and that is said" grep -q '^reap: warning: without --calib' err.txt
works paths "$resnet" --calib few.h5 --positions 2 --sizes 1 --progress none --output-kind logits=values -o values.h5
budget=(prune "$resnet" --calib few.h5 --positions 2 --flops 0.8 --repair off --from-paths values.h5 -o off.h5)
works "${budget[@]}" --output-kind logits=values --eval few.h5 --report k.json --progress none
check "the report tells what the output is" [ "$(grep -c '"values"\|"logits=values"' k.json)" = 2 ]
refused values.h5 "squared" "${budget[@]}"
if /usr/bin/python3 -c 'import h5py, numpy' 2>/dev/null; then
  works solve few-stats.h5 --keep 0.001 -o solved.h5 --progress none
  /usr/bin/python3 - <<'PYTHON' || fail "paths are not those of reap solve, or the file is not as promised"
import h5py, numpy

paths, solved, bare = h5py.File("paths.h5", "r"), h5py.File("solved.h5", "r"), h5py.File("bare.h5", "r")
text = lambda value: value.decode() if isinstance(value, bytes) else value
for name in "all.h5", "pieces.h5":
    other = h5py.File(name, "r")
    assert other.attrs["measured_images"] == 20, name
    for key, group in paths["groups"].items():
        spread = other["groups"][key]
        assert (group["order"][:] == spread["order"][:]).all() and (group["sizes"][:] == spread["sizes"][:]).all(), (name, key)
        assert numpy.abs(group["error"][:] - spread["error"][:]).max() < 1e-9, (name, key)
        assert numpy.allclose(group["moved"][:], spread["moved"][:], rtol=1e-4, atol=0), (name, key)
assert text(paths.attrs["format"]) == "reap-paths" and paths.attrs["version"] == 1
assert text(paths.attrs["measure"]) == "soft_kl" and paths.attrs["images"] == 200 and paths.attrs["measured_images"] == 20
assert len(text(paths.attrs["model_sha256"])) == len(text(paths.attrs["calibration_sha256"])) == 64
assert paths.attrs["positions"] == 6 and paths.attrs["ridge"] == 1e-6 and bare.attrs["measured_images"] == 0
for name, group in paths["groups"].items():
    layer = solved["layers"][text(group.attrs["layer"])]
    assert (group["order"][:] == layer["order"][:]).all(), name
    relative = layer["error"][:] / layer.attrs["energy"]
    assert numpy.abs(group["error"][:] - relative).max() < 1e-12, name
    assert group.attrs["columns"] == group.attrs["channels"] * group.attrs["block"]
    assert len(group["order"]) == group.attrs["channels"] - 1 and len(group["moved"]) == len(group["sizes"]) == 2
    assert (group["moved"][:] > 0).all() and len(bare["groups"][name]["sizes"]) == 0
PYTHON
  checks=$((checks + 1))
fi
if [ "$ranks" = 1 ]; then
  wrong "--calib is missing" paths "$resnet" -o x.h5
  wrong "-o is missing" paths "$resnet" --calib few.h5
  wrong "--positions and --seed are those of the file" paths "$resnet" --from-stats few-stats.h5 --positions 3 -o x.h5
  wrong "named twice" paths "$resnet" --calib few.h5 -o few.h5
fi
refused few-stats.h5 "another model" paths "$vgg" --from-stats few-stats.h5 -o x.h5
refused nosuch.h5 "No such file" paths "$resnet" --calib nosuch.h5 -o x.h5
check "no paths were written by failing runs" [ ! -e x.h5 ]
no_leftovers paths

finish
