#!/usr/bin/env bash
# Sizes under a budget and plan files, as users of reap prune meet them: budgets met, plans read back, wrong plans refused.
#
#   test_plans.sh PROGRAM SCRATCH RANKS
program=$(realpath "$1") ranks=$3
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
calib=$fashion/fashion-calib.h5 wrongs=0
fresh "$2/ranks-$ranks"

# ends STATUS "WORDS" ARGS...: the exit status, and words that the first line of standard error has to contain.
ends() {
  local wanted=$1 words=$2
  shift 2
  run "$@" --progress none --log-level quiet
  [ "$status" = "$wanted" ] || fail "status $status, not $wanted: reap $*"
  [ -z "$words" ] || head -n 1 err.txt | grep -qF -- "$words" || fail "does not say \"$words\": reap $*"
  [ -z "$(find . -name '*.tmp*')" ] || fail "something is left behind: reap $*"
}

few=(--images 70 --positions 8 --repair off)
prune=(prune "$resnet" --calib "$calib" "${few[@]}" -o out.h5)

number() { grep -o "\"$2\":[[:space:]]*[-0-9.e+]*" "$1" | sed 's/.*:[[:space:]]*//' | sed -n "${3:-1}p"; }

# met REPORT KIND SHARE: the pruned network has at most that share of multiply-adds or parameters, and nearly all of it.
met() {
  awk -v a="$(number "$1" "$2" 1)" -v b="$(number "$1" "$2" 2)" -v f="$3" 'BEGIN { exit !(b <= f * a && b > (f - 0.05) * a) }' ||
    fail "$2 $(number "$1" "$2" 1) and $(number "$1" "$2" 2): not just below $3"
}

same_kept() { # REPORT REPORT
  diff <(awk '/"name"|"kept"/' "$1") <(awk '/"name"|"kept"/' "$2") >/dev/null || fail "$1 and $2 keep other channels"
}

# ------------------------------------------------------------------ budgets

for budget in flops params; do
  ends 0 "" "${prune[@]}" --$budget 0.6 --report $budget.json --save-plan $budget.plan.json
  met $budget.json $budget 0.6
  ends 0 "" prune "$vgg" --calib "$calib" "${few[@]}" -o out.h5 --$budget 0.6 --report vgg.json
  met vgg.json $budget 0.6
done
ends 2 "params 0.001 cannot be reached" "${prune[@]}" --params 0.001 --scope inner
ends 2 "flops 0.5 cannot be reached" "${prune[@]}" --flops 0.5 --min-keep 0.9
ends 0 "" "${prune[@]}" --flops 0.5 --min-keep 8 --report least.json
awk '/"groups"/ { inside = 1 } inside && /"kept"/ { gsub(/[^0-9]/, ""); if ($0 + 0 < 8) exit 1 }' least.json || fail "a group keeps fewer than 8"

# ------------------------------------------------------------------ plans

ends 0 "" "${prune[@]}" --plan flops.plan.json --report again.json --save-plan again.plan.json
same_kept flops.json again.json
diff <(grep Conv flops.plan.json) <(grep Conv again.plan.json) >/dev/null || fail "the plan read and saved is another one"

group=stage3.stage3.1.conv1.Conv
plan() { printf '%s' "$1" >plan.json; }
plan "{ \"groups\": { \"$group\": [ 40, 2, 0, 63, 17 ], \"stage1.stage1.0.conv1.Conv\": 5 } }"
ends 0 "" "${prune[@]}" --plan plan.json --report lists.json --save-plan lists.plan.json
tr -d ' \t\n' <lists.json | grep -q "\"group\":\"$group\",\"channels\":64,\"kept\":\[0,2,17,40,63\]" || fail "the channels listed are not those kept"
tr -d ' \t\n' <lists.plan.json | grep -q "\"$group\":\[0,2,17,40,63\]" || fail "the list is not saved as a list"
[ "$(grep -c '"relative_error"' lists.json)" = 2 ] || fail "groups that the plan does not name were pruned"
ends 0 "" "${prune[@]}" --plan plan.json --solver scalapack --report distributed.json
tr -d ' \t\n' <distributed.json | grep -q "\"group\":\"$group\",\"channels\":64,\"kept\":\[0,2,17,40,63\]" || fail "the channels listed are not those kept where no rank holds a layer's moments"

wrong() { # WORDS TEXT; starting many ranks takes its time, so that they meet only every fifth of these
  wrongs=$((wrongs + 1))
  [ "$ranks" = 1 ] || [ $((wrongs % 5)) = 0 ] || return
  plan "$2"
  ends 3 "plan.json: $1" "${prune[@]}" --plan plan.json
}
wrong "line 2 is not JSON" '{ "groups":
  { "a": } }'
wrong "line 1 is not JSON" ''
wrong "line 1 is not JSON" '{"groups": {}} and more'
wrong "not a plan" '[1, 2]'
wrong "not a plan" '{ "group": {} }'
wrong '"nobody" is no channel group' '{ "groups": { "nobody": 3 } }'
for value in 0 -1 65 2.5 1e300 true '"8"' null '{}'; do wrong "group $group wants a whole number" "{ \"groups\": { \"$group\": $value } }"; done
wrong "group $group has to keep at least one" "{ \"groups\": { \"$group\": [] } }"
wrong "group $group: channel 3 is named twice" "{ \"groups\": { \"$group\": [3, 1, 3] } }"
for value in 64 -1 0.5 '"1"' '[1]'; do wrong "group $group: indices of channels" "{ \"groups\": { \"$group\": [0, $value] } }"; done
wrong "group $group is named twice" "{ \"groups\": { \"$group\": 3, \"$group\": 4 } }"
plan '{ "groups": { "conv1.Conv": 3 } }' # coupled: a plan opens the scope, unless the user closed it
ends 3 "plan.json: group conv1.Conv cannot be pruned: coupled" "${prune[@]}" --plan plan.json --scope inner
ends 0 "" "${prune[@]}" --plan plan.json --report coupled.json
tr -d ' \t\n' <coupled.json | grep -q '"group":"conv1.Conv","units":16,"kept":\[[0-9]*,[0-9]*,[0-9]*\]' || fail "three channels of a coupled group were asked for"
ends 3 "none.json: cannot be read" "${prune[@]}" --plan none.json
plan "{ \"groups\": { \"$group\": 3 } }"
ends 2 "plan.json: group $group is excluded" "${prune[@]}" --plan plan.json --exclude "$group"
ends 2 "give exactly one of" "${prune[@]}" --plan plan.json --keep 0.5
ends 2 "give exactly one of" "${prune[@]}" --params 0.5 --flops 0.5
ends 2 "--min-keep does not go with --plan" "${prune[@]}" --plan plan.json --min-keep 2
ends 2 'least size "2.5"' "${prune[@]}" --flops 0.5 --min-keep 2.5
ends 2 "named twice" "${prune[@]}" --plan plan.json --save-plan plan.json

# ------------------------------------------------------------------ sizes by losses

for ratios in path output; do
  ends 0 "" "${prune[@]}" --flops 0.6 --ratios $ratios --ridge 1e-6 --report $ratios.json --save-paths $ratios.h5 --save-plan $ratios.plan.json
  met $ratios.json flops 0.6
  grep -q "\"ratios\":[[:space:]]*\"$ratios\"" $ratios.json || fail "the report does not say $ratios"
  [ "$(number $ratios.json power)" = 0 ] || awk -v l="$(number $ratios.json predicted_loss)" -v g="$(number $ratios.json gap)" 'BEGIN { exit !(l > 0 && g >= 0 && g < 0.1) }' ||
    fail "$ratios: loss $(number $ratios.json predicted_loss), gap $(number $ratios.json gap)"
  ends 0 "" "${prune[@]}" --flops 0.6 --ratios $ratios --ridge 1e-6 --report again.json --from-paths $ratios.h5
  same_kept $ratios.json again.json
done
for ratios in path output; do # the same choice where no rank holds a layer's moments, which then look for no ridge
  ends 0 "" "${prune[@]}" --flops 0.6 --ratios $ratios --solver scalapack --report distributed.json
  same_kept $ratios.json distributed.json
done
# reap paths finds the same paths, and the same law of how their losses go together.
alike=("$resnet" --calib "$calib" --images 70 --positions 8)
ends 0 "" prune "${alike[@]}" --flops 0.6 -o out.h5 --report made.json --save-paths made.h5
ends 0 "" paths "${alike[@]}" -o alone.h5
ends 0 "" prune "${alike[@]}" --flops 0.6 -o out.h5 --report alone.json --from-paths alone.h5
same_kept made.json alone.json
for law in power tilt; do
  [ "$(number made.json $law)" = "$(number alone.json $law)" ] || fail "$law is $(number alone.json $law) by reap paths, $(number made.json $law) by reap prune"
done
ends 0 "" "${prune[@]}" --flops 0.5 --report other.json --from-paths output.h5
met other.json flops 0.5
# The groups of stage 2 are so alike that uniform shares have to be tried.
ends 0 "" "${prune[@]}" --flops 0.85 --exclude "stage1*,stage3*" --report tried.json
told=$(grep -c '"moved"' tried.json)
[ "$told" = 2 ] || [ "$told" = 3 ] || fail "of the trials $told are told"
ends 2 "--from-paths is for" "${prune[@]}" --flops 0.5 --ratios uniform --from-paths output.h5
ends 2 "--from-paths is for" "${prune[@]}" --plan flops.plan.json --from-paths output.h5
ends 2 "--ratios path chooses" "${prune[@]}" --keep 0.5 --ratios path
ends 3 "path.h5: " prune "$vgg" --calib "$calib" "${few[@]}" -o out.h5 --flops 0.5 --from-paths path.h5
[ "$ranks" = 1 ] && ends 3 "do not tell how far" "${prune[@]}" --flops 0.5 --ratios output --from-paths path.h5

# ------------------------------------------------------------------ coupled groups, round numbers

all=(prune "$resnet" --calib "$calib" --images 70 -o out.h5 --scope all --method l1 --refit none)
cuts() { tr -d ' \t\n' <"$1" | grep -o '"cuts":.*"units"' | md5sum; }
for budget in flops params; do
  ends 0 "" "${all[@]}" --$budget 0.3 --report all.json --save-plan all.plan.json
  met all.json $budget 0.3
  ends 0 "" "${all[@]}" --plan all.plan.json --report again.json
  [ "$(cuts all.json)" = "$(cuts again.json)" ] || fail "a plan of coupled groups cuts other channels"
done
round() { # PLAN; numbers of channels, of 16, 32 and 64
  awk -F: '/Conv/ { n++; if ($2 % 8 != 0) exit 1 } END { exit n < 5 }' "$1" || fail "$1 has numbers that are no multiples of 8"
}
ends 0 "" "${all[@]}" --keep 0.4 --multiple-of 8 --save-plan round.plan.json
round round.plan.json
ends 0 "" "${all[@]}" --flops 0.6 --min-keep 9 --multiple-of 8 --report round.json --save-plan round.plan.json
round round.plan.json
awk -F: '/Conv/ && $2 + 0 < 16 { exit 1 }' round.plan.json || fail "--min-keep 9 does not keep 16"
ends 0 "" "${prune[@]}" --flops 0.6 --ratios path --multiple-of 8 --save-plan round.plan.json
round round.plan.json
plan '{ "groups": { "conv1.Conv": 7 } }'
ends 2 "plan.json: group conv1.Conv: keeps multiples of 8" "${all[@]}" --plan plan.json --multiple-of 8
ends 2 "plan.json: group conv1.Conv is excluded" "${all[@]}" --plan plan.json --exclude stage1.stage1.0.conv1.Conv
ends 2 "method reap finds channels and weights together" "${all[@]/#l1/reap}" --keep 0.5
ends 2 "do not go with --scope all yet" "${all[@]}" --keep 0.5 --save-stats stats.h5
ends 2 "goes with --ratios uniform only" "${all[@]}" --flops 0.5 --ratios path

# ------------------------------------------------------------------ milliseconds

ends 0 "" bench layers "$resnet" -o measured.json
# Busy machines measure anything; with the layers' sum as the whole there is something to choose.
sed "s/\"whole_ms\":.*,/\"whole_ms\": $(awk '/^all layers/ { print $3 }' out.txt),/" measured.json >times.json
ends 0 "" "${prune[@]}" --latency 0.9 --latency-table times.json --ratios path --report latency.json
awk -v a="$(number latency.json original)" -v p="$(number latency.json predicted)" -v m="$(number latency.json measured)" \
  'BEGIN { exit !(p > 0 && p <= 0.9 * a && m > 0) }' || fail "predicted $(number latency.json predicted) of $(number latency.json original) ms"
ends 0 "" "${prune[@]}" --latency 0.5 --latency-table times.json --scope all --ratios path --report latency.json
awk -v a="$(number latency.json original)" -v p="$(number latency.json predicted)" \
  'BEGIN { exit !(p > 0 && p <= 0.5 * a) }' || fail "coupled groups: predicted $(number latency.json predicted) of $(number latency.json original) ms"
ends 2 "--latency wants" "${prune[@]}" --latency fast
ends 2 "--latency wants" "${prune[@]}" --latency -3ms
ends 2 "--latency-table goes with" "${prune[@]}" --flops 0.5 --latency-table times.json
ends 2 "cannot be reached" "${prune[@]}" --latency 0.0000001ms --latency-table times.json --ratios uniform
if [ "$ranks" = 1 ]; then
  ends 3 "times.json: holds times of another model" prune "$vgg" --calib "$calib" -o out.h5 --latency 0.8 --latency-table times.json
  sed 's/"in":/"is":/' times.json >bad.json
  ends 3 'bad.json: layer conv1.Conv wants lists' "${prune[@]}" --latency 0.8 --latency-table bad.json
  sed '0,/"ms":/s//"ms":\t[[-1]], "x":/' times.json >bad.json
  ends 3 'bad.json: layer conv1.Conv: sizes are whole' "${prune[@]}" --latency 0.8 --latency-table bad.json
  echo '{"layers": {}}' >bad.json
  ends 3 'bad.json: no table of times' "${prune[@]}" --latency 0.8 --latency-table bad.json
fi

[ "$failures" = 0 ] && echo "plans and budgets hold on $ranks ranks"
exit $((failures > 0))
