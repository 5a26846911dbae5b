#!/usr/bin/env bash
# The words of the command line: what is typed twice, mistyped, abbreviated or left out, and what the program answers.
#
#   test_cli_words.sh PROGRAM MAKER SCRATCH RANKS      MAKER: tests/make_cli_files.c, built
#
# Most mistakes are found before any work, and are looked at on one rank only.
program=$1 maker=$2 scratch=$3/ranks-$4 ranks=$4
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
fresh "$scratch"
"$maker" . || { echo "FAILED: test files could not be made"; exit 1; }

# answers "LINE" ARGS...: a usage error; LINE is the first line, whole.
answers() {
  local line=$1
  shift
  run "$@"
  checks=$((checks + 1))
  if [ "$status" != 2 ] || [ "$(head -n 1 err.txt)" != "$line" ]; then fail "status $status; not \"$line\": reap $*"; fi
}

# groups ARGS...: the groups that a run over few images prunes, by their names up to the point, in alphabetical order. (A layer that is
# excluded takes the groups with it that it reads and makes.)
groups() {
  works prune "$vgg" --calib few.h5 --images 20 --positions 2 --method l1 --refit none --progress none -o out.h5 --report r.json "$@"
  grep -o '"group":[^,]*' r.json | sed 's/.*"\([^".]*\).*"$/\1/' | LC_ALL=C sort | tr '\n' ' '
}

sizes() { # ARGS...: the sizes of all groups, in their order
  works prune "$vgg" --calib few.h5 --images 20 --positions 2 --method l1 --refit none --progress none -o out.h5 --save-plan sizes.json "$@"
  sed -n 's/.*\(Conv\|Gemm\)":[[:space:]]*\([0-9]*\).*/\2/p' sizes.json | tr '\n' ' '
}

prune=(prune "$vgg" --calib few.h5 -o never.h5) # by these tests

# ------------------------------------------------------------------ options given more than once

if [ "$ranks" = 1 ]; then
  answers 'reap prune: --keep is given twice, as "0.5" and as "0.6"; which one is meant?' "${prune[@]}" --keep 0.5 --keep=0.6
  answers 'reap prune: --output is given twice, as "never.h5" and as "b.h5"; which one is meant?' "${prune[@]}" --keep 0.5 -o b.h5
  answers 'reap inspect: --json is given twice' inspect "$vgg" --json --json
  answers 'reap sweep: --calib is given twice, as "few.h5" and as "many.h5"; which one is meant?' \
    sweep "$vgg" --calib few.h5 --calib many.h5 --flops 0.5
fi
check "every --exclude counts" [ "$(groups --keep 0.5 --exclude conv1_1.Conv --exclude=conv3_2.Conv --exclude fc2.Gemm)" = "conv1_2 conv2_1 conv2_2 " ]
works sweep "$vgg" --calib few.h5 --images 20 --positions 2 --method l1 --method random --refit none --keep 0.5,0.6 --keep 0.7 \
  --log-level quiet --progress none -o sweep.h5
check "lists of a sweep add up" [ "$(grep -c '^\(l1\|random\)-uniform-keep-0\.[567]-seed0 ' out.txt)" = 6 ]

# ------------------------------------------------------------------ words mistyped

if [ "$ranks" = 1 ]; then
  answers 'reap: there is no command "prun"; did you mean prune?' prun
  answers 'reap: there is no command "frobnicate"' frobnicate
  answers 'reap: there is no command "-v"; did you mean -V?' -v
  answers 'reap prune: --flops wants a value (F), and the option --keep=0.5 follows' "${prune[@]}" --flops --keep=0.5
  answers 'reap prune: --output wants a value (OUT.h5), and the option --flops follows' prune "$vgg" --calib few.h5 -o --flops 0.5
  answers 'reap bench solve: --block has to divide --n' bench solve --n 100 --block 7
  check "the hint names the part of the command" [ "$(tail -n 1 err.txt)" = 'try "reap bench solve --help"' ]
  answers 'reap bench: give solve or layers, not "solv"; did you mean solve?' bench solv
  answers 'reap prune: there is no option "--flop"; did you mean --flops?' prune "$vgg" --flop 0.5
  answers 'reap prune: there is no option "--fOlps"; did you mean --flops?' prune "$vgg" --fOlps=0.5
  answers 'reap prune: there is no option "-keep"; did you mean --keep?' prune "$vgg" -keep 0.5
  answers 'reap prune: there is no option "--calibration"; did you mean --calib?' prune "$vgg" --calibration few.h5
  answers 'reap prune: there is no option "--save"; did you mean --save-stats, --save-plan or --save-paths?' prune "$vgg" --save x
  answers 'reap sweep: there is no option "--checkpoint"' sweep "$vgg" --checkpoint c.h5
  answers 'reap prune: there is no option "--data"' prune "$vgg" --data few.h5
  run prune "$vgg" --method l1-filt
  says ', not "l1-filt"; did you mean l1-filter?'
  answers 'reap prune: --ratios wants one of uniform|path|output, not "unifrom"; did you mean uniform?' prune "$vgg" --ratios unifrom
  answers 'reap: "logit" is given a kind, and is no output of this network; did you mean "logits"?' inspect "$vgg" --output-kind logit=values
  excluded='is to be excluded, and is no group or layer of this network'
  answers "reap: \"conv1_1\" $excluded; did you mean \"conv1_1.Conv\"? (see --exclude)" "${prune[@]}" --keep 0.5 --exclude conv1_1
  answers "reap: \"conv1\" $excluded; did you mean \"conv1_1.Conv\" or \"conv1_2.Conv\"? (see --exclude)" "${prune[@]}" --keep 0.5 --exclude conv1
  answers "reap: \"conv\" $excluded; did you mean \"conv1_1.Conv\", \"conv1_2.Conv\", \"conv2_1.Conv\", ...? (see --exclude)" "${prune[@]}" --keep 0.5 --exclude conv
  answers "reap: \"nothing\" $excluded (see --exclude)" "${prune[@]}" --keep 0.5 --exclude nothing
  answers "reap: \"$(printf '%0300d' 0)\" $excluded (see --exclude)" "${prune[@]}" --keep 0.5 --exclude "$(printf '%0300d' 0)"
  echo '{"groups": {"conv1_1": 8}}' >plan.json
  run "${prune[@]}" --plan plan.json
  says 'plan.json: "conv1_1" is no channel group of this network; did you mean "conv1_1.Conv"?'
fi

# ------------------------------------------------------------------ help and versions

works --version
mv out.txt version.txt
works -V
check "-V is --version" cmp -s out.txt version.txt
if [ "$ranks" = 1 ]; then
  for words in prune inspect stats "bench layers" bench; do
    works $words --help
    mv out.txt help.txt
    works help $words
    check "help $words is $words --help" cmp -s out.txt help.txt
  done
  works help
  check "help alone lists the commands" grep -q 'reap prune ' out.txt
  answers 'reap: there is no command "prun"; did you mean prune?' help prun
fi

# ------------------------------------------------------------------ amounts and their units

check "--keep 25%" [ "$(sizes --keep 25%)" = "8 8 16 16 32 32 32 " ]
check "12.5% is 0.125" [ "$(sizes --keep 12.5%)" = "4 4 8 8 16 16 16 " ]
if [ "$ranks" = 1 ]; then
  wants='wants a share above 0 and up to 1 (0.5, or 50%), not'
  for amount in half nan 0 -1 150 150% 50%% %; do
    answers "reap prune: --flops $wants \"$amount\"" "${prune[@]}" --flops "$amount"
  done
  answers "reap prune: --params $wants \"50\"; did you mean 50%?" "${prune[@]}" --params 50
  answers "reap solve: --keep $wants \"1.5\"" solve stats.h5 -o never.h5 --keep 1.5
  wants='--latency wants a share above 0 and up to 1 (0.5, or 50%), or milliseconds with their unit (2.5ms), not'
  answers "reap prune: $wants \"2.5\"; did you mean 2.5ms?" "${prune[@]}" --latency 2.5
  for amount in 250% 2.5s ms 0 infms; do answers "reap prune: $wants \"$amount\"" "${prune[@]}" --latency "$amount"; done
  answers "reap sweep: the setting reap-output-flops-0.333-seed0 is asked for twice" sweep "$vgg" --calib few.h5 --flops 33.3%,0.333 -o never.h5
fi

# ------------------------------------------------------------------ patterns of names

check "a pattern excludes all that it fits" [ "$(groups --keep 0.5 --exclude 'conv1*')" = "conv2_1 conv2_2 conv3_1 conv3_2 fc1 " ]
check "patterns, in a list" [ "$(groups --keep 0.5 --exclude 'conv[13]_1*,fc?.Gem*')" = "conv1_2 conv2_1 " ]
check "--min-keep 25%" [ "$(sizes --keep 0.1 --min-keep 25%)" = "8 8 16 16 32 32 32 " ]
check "--min-keep K" [ "$(sizes --keep 0.25 --min-keep 20)" = "20 20 20 20 32 32 32 " ]
check "--min-keep NAME=K" [ "$(sizes --keep 0.25 --min-keep 20 --min-keep 'conv3*=0.5,conv1_2.Conv=40,conv3_2.Conv=7')" = "20 32 20 20 64 32 32 " ]
if [ "$ranks" = 1 ]; then
  answers "reap: \"conv4*\" is to be excluded, and fits no group or layer of this network (see --exclude)" "${prune[@]}" --keep 0.5 --exclude 'fc1*,conv4*'
  answers 'reap: "conv1_1" is given a least size, and is no group of this network; did you mean "conv1_1.Conv"? (see --min-keep)' \
    "${prune[@]}" --keep 0.5 --min-keep conv1_1=8
  answers 'reap: "layer*" is given a least size, and fits no group of this network (see --min-keep)' "${prune[@]}" --keep 0.5 --min-keep 8,layer*=9
  for amount in 1.5 -1 x conv1_1.Conv= nan 100% 5%%; do
    answers "reap: least size \"$amount\": a number of channels, or a share below 1, is wanted (see --min-keep)" "${prune[@]}" --keep 0.5 --min-keep 8,$amount,9
  done
fi

# ------------------------------------------------------------------ too few images, too many threads

refused='few.h5: of 9 images none is held out (every tenth is), and'
for line in "--flops 0.5|reap: $refused sizes are chosen by images held out; give at least 10 images, or take ratios path or uniform (see --ratios)" \
            "--keep 0.5 --ridge auto|reap: $refused the ridge is chosen by images held out; give at least 10 images (see --ridge)"; do
  run "${prune[@]}" --images 9 --log-level quiet ${line%%|*}
  check "status 3 with too few images: ${line%%|*}" [ "$status" = 3 ]
  check "at once, in one line" [ "$(cat err.txt)" = "${line#*|}" ]
done
works prune "$vgg" --calib few.h5 --images 9 --positions 2 --flops 0.5 --ratios path --producers 0 --progress none -o out.h5

cores=$(getconf _NPROCESSORS_ONLN)
works eval "$vgg" --data few.h5 --images 2 --threads $((2 * cores)) --progress none
check "threads past the cores: one warning" [ "$(grep -c "^reap: warning: $ranks ranks\\? of $((2 * cores)) threads on a node with $cores core" err.raw)" = 1 ]
works eval "$vgg" --data few.h5 --images 2 --threads 1 --progress none
check "a warning where ranks alone are too many, and else none" [ "$(grep -c '^reap: warning: .* on a node with' err.raw)" = $((ranks > cores)) ]

# ------------------------------------------------------------------ files: any number merged, and those that are replaced

stats=(stats "$vgg" --calib "$fashion/fashion-calib.h5" --positions 2 --progress none --images 64)
for first in 0 64 128; do works "${stats[@]}" --first $first -o part-$first.h5; done
works stats "$vgg" --calib "$fashion/fashion-calib.h5" --positions 2 --progress none --images 192 -o whole.h5
works merge part-0.h5 part-64.h5 part-128.h5 -o merged.h5
check "merge tells the files" grep -qx 'layers           7 of 192 images in 3 files' out.txt
errors() { works solve "$1" --keep 0.5 -o path.h5 && grep -v 'error [0-9.]*e-1[0-9]' out.txt; } # but those of rounding alone
check "moments of three files are those of one run" [ "$(errors whole.h5)" = "$(errors merged.h5)" ]
check "of most layers there are" [ "$(errors merged.h5 | wc -l)" = 5 ]
check "a file that is replaced: one warning" [ "$(grep -cx 'reap: warning: to be replaced when the run is done: path.h5' err.txt)" = 1 ]
if [ "$ranks" = 1 ]; then
  answers 'reap merge: B.h5 is missing' merge part-0.h5 -o never.h5
  answers 'reap merge: -o is missing' merge part-0.h5 part-64.h5
  run merge part-0.h5 part-64.h5 part-64.h5 -o never.h5
  says 'the files before and part-64.h5 share images'
fi

# ------------------------------------------------------------------ a dry run

few=(prune "$vgg" --calib "$fashion/fashion-calib.h5" --images 70 --positions 4 --flops 60% --ratios path --repair off --progress none)
works "${few[@]}" -o out.h5 --save-plan plan.json
mv plan.json wet.json
run "${few[@]}" --dry-run -o never.h5 --onnx never.onnx --report never.json --eval nosuch.h5 --save-plan plan.json
check "a dry run ends well" [ "$status" = 0 ]
for word in '-o never.h5' '--onnx never.onnx' '--report never.json'; do says "$word is not written by a dry run"; done
check "it chooses the sizes of the run" cmp -s plan.json wet.json
check "it shows them" [ "$(grep -Ec '^(conv|fc)[^ ]+ +[0-9]+ +[0-9]+ +[0-9.]+ %$' out.txt)" = 7 ]
check "and what they come to" grep -Eq '^multiply-adds +29\.28 M .* (59|60)\.[0-9] % of it$' out.txt
check "it writes the plan alone" [ "$(grep '^written' out.txt | tr -s ' ')$(ls never.*  2>/dev/null)" = "written plan.json" ]
works "${few[@]}" --dry-run
check "or nothing" [ "$(grep -c '^written' out.txt)" = 0 ]

[ "$ranks" = 1 ] || finish # the rest is one rank's

# ------------------------------------------------------------------ what is shown

head_of() { works eval "$@" --data few.h5 --progress none && head -n 1 out.txt; }
long=a-rather-long-name-of-a-network.onnx
cp "$vgg" "$long"
mkdir -p folder
cp "$vgg" folder/short.onnx
check "eval names the file" [ "$(head_of folder/short.onnx)" = "                   short.onnx" ]
check "a long name is whole" [ "$(head_of "$long")" = "$long" ]
check "eval names both files" [ "$(head_of folder/short.onnx --against "$vgg")" = "             vgg-fashion.onnx   short.onnx" ]
check "with long names, too" [ "$(head_of "$long" --against "$long")" = "r-long-name-of-a-network.onnx $long" ]
cp "$vgg" short.onnx
check "files of one name, by their paths" [ "$(head_of folder/short.onnx --against ./short.onnx)" = "                 ./short.onnx folder/short.onnx" ]

works inspect "$vgg"
check "inspect tells the total" grep -Eq '^total +29\.28 M +100\.0 % +435\.3 k +100\.0 %$' out.txt
check "and shares" grep -Eq '^conv1_2\.Conv +Conv .* 7\.225 M +24\.7 % +9\.248 k +2\.1 %$' out.txt
check "no other nodes" [ "$(grep -c '^other nodes' out.txt)" = 0 ]
check "and how far it can go" grep -q '^7 of 8 groups are prunable: multiply-adds can go down to 0\.0' out.txt
works inspect "$source/tests/references/kernels/batchnorm_conv.onnx"
check "what is no layer has its line" [ "$(grep -c '^other nodes' out.txt)" = 1 ]

# ------------------------------------------------------------------ estimates of budgets

works inspect "$resnet" --estimate 2 --images 640 --flops 50%
check "the estimate tells the budget" grep -q '^estimate for reap prune --flops 0.5 with 640 images on 2 ranks ' out.txt
check "and what the choice of sizes takes" grep -q ' s of it to choose the sizes' out.txt
works inspect "$resnet" --estimate 2 --images 640 --params 3%
check "a budget that takes coupled groups" grep -Eq '^time +[0-9.e+]+ s ' out.txt
works inspect "$resnet" --estimate 2 --images 640 --keep 50%
check "fixed sizes are not chosen" [ "$(grep -c 'to choose the sizes' out.txt)" = 0 ]
answers 'reap inspect: give one of --keep, --flops and --params' inspect "$resnet" --estimate 1 --keep 0.5 --flops 0.5
answers 'reap inspect: --images, --keep, --flops, --params, --exclude and --memory belong to --estimate' inspect "$resnet" --flops 0.5
run inspect "$resnet" --estimate 1 --flops 0.01%
says 'flops 0.0001 cannot be reached'

check "mistakes write nothing" [ ! -e never.h5 ]
finish
