#!/usr/bin/env bash
# The layers of the code: which folder may use which, and who may name MPI, HDF5, oneDNN, protobuf, ScaLAPACK and cJSON.
#
#   test_layering.sh [ROOT]                checks src and include below ROOT; prints every offending line
#   test_layering.sh --objects LIBRARY.a... [ROOT]   checks what the object files of static libraries call, which no typedef
#                                          or macro hides: no call to a room above, no circle of files within a room
#   test_layering.sh --self-test           checks that every rule can fail, on a copy with planted violations
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# From the bottom up. A room is a folder below src, or one within it; it may use itself and those before it, but for the
# layers that do not know each other.
rooms=(base comm linalg model model/operators model/prepare model/groups io/files io/hdf5 io/onnx io exec/primitives exec/kernels exec stats
  prune/solver prune/sizes prune/methods prune/run prune/repair prune prune/sensitivity prune/estimate prune/session
  app/json app/progress app/options app app/prune app/sweep app/commands)
strangers=("model linalg")

# Public headers whose room has no .c file of that name.
owner_of() {
  local found
  case $1 in
    api) echo base ;;
    network|dataset|stats_file) echo io ;;
    *)
      found=$(cd "$root/src" && ls -d ./*/"$1.c" ./*/*/"$1.c" 2>/dev/null)
      [ "$(wc -w <<<"$found")" = 1 ] && room_of "src/${found#./}" ;;
  esac
}

# Room of a file below src. The program itself calls the commands.
room_of() {
  case $1 in
    src/app/main.c) echo app/commands ;;
    *) local folder=${1%/*}; echo "${folder#src/}" ;;
  esac
}

# All files without comments and without what stands in strings: FILE, line number and text, between tabs.
strip() {
  awk '
  FNR == 1 { inside = 0 }
  {
    line = $0; out = ""
    while (length(line) > 0) {
      if (inside) {
        end = index(line, "*/")
        if (end == 0) { line = ""; break }
        line = substr(line, end + 2); inside = 0
      } else if (match(line, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047/)) {
        token = substr(line, RSTART, 2)
        if (token == "/*") { out = out substr(line, 1, RSTART - 1); line = substr(line, RSTART + 2); inside = 1 }
        else if (token == "//") { out = out substr(line, 1, RSTART - 1); line = "" }
        else if (out line ~ /^[ \t]*#[ \t]*include/) { out = out substr(line, 1, RSTART + RLENGTH - 1); line = substr(line, RSTART + RLENGTH) }
        else { out = out substr(line, 1, RSTART - 1) "\"\""; line = substr(line, RSTART + RLENGTH) }
      } else { out = out line; line = "" }
    }
    if (out ~ /[^ \t]/) print FILENAME "\t" FNR "\t" out
  }' "$@"
}

violations=0
report() { # FILE LINE TEXT WHY
  violations=$((violations + 1))
  printf '%s:%s: %s\n    %s\n' "$1" "$2" "$4" "$3"
}

may_use() { # USER USED
  local user=-1 used=-1 i pair
  for i in "${!rooms[@]}"; do
    [ "${rooms[$i]}" = "$1" ] && user=$i
    [ "${rooms[$i]}" = "$2" ] && used=$i
  done
  for pair in "${strangers[@]}"; do
    if [ "$pair" = "${1%%/*} ${2%%/*}" ] || [ "$pair" = "${2%%/*} ${1%%/*}" ]; then return 1; fi
  done
  [ "$used" -ge 0 ] && [ "$used" -le "$user" ]
}

folder_of() { # FILE
  local name
  case $1 in
    src/*) room_of "$1" ;;
    *) name=${1##*/}; echo "${owners[${name%.h}]:-}" ;;
  esac
}

check_includes() {
  local file number text name owner folder last=
  while IFS=$'\t' read -r file number text; do
    [ "$file" = "$last" ] || folder=$(folder_of "$file")
    last=$file
    name=${text#*\"}
    name=${name%%\"*}
    case $file,$name in
      include/*,reap/*) ;;
      include/*) report "$file" "$number" "$text" "a public header must not need a private one"; continue ;;
    esac
    case $name in
      reap/*)
        name=${name#reap/}
        owner=${owners[${name%.h}]:-}
        [ -n "$owner" ] || { report "$file" "$number" "$text" "no folder is known to implement this header: see owner_of in the check"; continue; } ;;
      reap_commit.h) continue ;; # generated, as is the next
      onnx.pb-c.h) owner=io/onnx ;;
      */*)
        [ -e "src/$name" ] || { report "$file" "$number" "$text" "there is no such header below src"; continue; }
        owner=$(room_of "src/$name") ;;
      *)
        [ -e "${file%/*}/$name" ] || report "$file" "$number" "$text" "a private header of another room: name the room"
        continue ;;
    esac
    may_use "$folder" "$owner" || report "$file" "$number" "$text" "$folder must not use $owner"
  done < <(grep -E $'\t[ ]*#[ ]*include[ ]*"' "$stripped")
}

# rule "PATTERN" "WHERE IT IS ALLOWED (regular expression of paths)" "WHY NOT": on the stripped text.
rules=(
  '\<(MPI|PMPI)_[A-Za-z]' '^(src/(comm|linalg|io|stats|app)/|include/reap/comm\.h)' 'MPI is named in comm, linalg, io, stats and app only'
  '\<MPI_COMM_WORLD\>' '^src/app/main\.c' 'the world communicator belongs to main()'
  '\<H5[A-Z]*_?[A-Za-z]|<hdf5' '^src/io/' 'HDF5 is named in io only'
  '\<dnnl_|<(oneapi|dnnl)' '^src/exec/primitives/onednn\.c' 'oneDNN is named in src/exec/primitives/onednn.c only'
  '\<(ReapOnnx__|reap_onnx__|REAP_ONNX__|ProtobufC|protobuf_c)|<protobuf|onnx\.pb-c' '^src/io/' 'ONNX messages are named in io only'
  '\<C?blacs_|\<(numroc|descinit|indx[gl]2[gpl]|infog2l)_|\<p[sdcz](ge|po|sy|tr|la|dot|gemr|axpy|scal|copy|nrm)[a-z0-9]*_\>' '^src/linalg/' 'ScaLAPACK is named in linalg only'
  '\<cJSON|<cjson' '^src/app/' 'cJSON is named in app only'
  '\<cJSON_(AddItemTo|Print|free|InitHooks)' '^src/app/json/json\.c' 'what runs out of memory unseen is left to src/app/json/json.c'
  '\<(exit|abort|_Exit|quick_exit)[[:space:]]*\(' '^$' 'a library returns its errors'
  '\<P?MPI_Abort\>' '^src/(app/main|comm/waiting)\.c' 'a library returns its errors'
  '\<_exit[[:space:]]*\(' '^src/(io/probe|app/stall_watch)\.c' 'only the child of the probe ends so, and a run that hangs'
  # Which axis is which, which operator, which member: asked, not known.
  '\<dims\[1\]' '^src/(model/operators/|model/tensor\.c|exec/primitives/|exec/kernels/|io/dataset\.c)' 'the axis of channels follows from the layout: reap_channel_axis(), reap_linear_axis(); columns of weights: reap_weights_inputs()'
  '\<rank[[:space:]]*[!=]=[[:space:]]*4\>' '^src/(model/operators/|exec/primitives/|exec/kernels/|io/dataset\.c)' 'images are told by their operators, not by a rank: see layout.h, layer.h'
  'axis(\([^;]*\))?[[:space:]]*[!=]=[[:space:]]*1\>' '^src/model/(operators/|groups/channel_map\.c)' 'the axis of channels follows from the layout'
  '(members|producers|consumers)\[0\]|members->' '^src/model/groups/' 'a group has any number of members: take all of a role, or reap_group_consumer() of an inner group'
  '\<str[a-z]*cmp[[:space:]]*\([^;]*op->name' '^$' 'operators are known by op->id'
  '\<REAP_OP_[A-Za-z]' '^src/(model|exec)/' 'what an operator is like is asked of the table of operators (operators.h)'
)

check_names() {
  local file i number text
  for ((i = 0; i < ${#rules[@]}; i += 3)); do
    while IFS=$'\t' read -r file number text; do
      [[ $file =~ ${rules[i + 1]} ]] || report "$file" "$number" "$(sed -n "${number}p" "$file")" "${rules[i + 2]}"
    done < <(grep -E -e "${rules[i]}" "$stripped")
  done
}

check_tree() { # ROOT
  root=$1
  cd "$root" || exit 1
  local file folder name
  declare -gA owners=()
  for file in include/reap/*.h; do
    name=$(basename "$file" .h)
    owners[$name]=$(owner_of "$name")
    [ -n "${owners[$name]}" ] || report "$file" 1 "$file" "no folder is known to implement this header: see owner_of in the check"
  done
  for folder in src/*/ src/*/*/; do
    [ -d "$folder" ] || continue
    folder=${folder#src/}
    folder=${folder%/}
    [[ " ${rooms[*]} " == *" $folder "* ]] || report "src/$folder" 1 "$folder" "not a room"
  done
  shopt -s nullglob
  strip src/*/*.[ch] src/*/*/*.[ch] include/reap/*.h >"$stripped"
  shopt -u nullglob
  check_includes
  check_names
}

# ------------------------------------------------------------------ object code

# USER USED SYMBOL, files below src without ending, for each symbol that one object file of the library takes from another.
calls() { # LIBRARY...
  local names
  names=$(find src -name '*.c' | sed 's|^src/||; s|\.c$||' | awk -F/ '{ print $NF, $0 }')
  nm -A "$@" 2>/dev/null | awk -v names="$names" '
  BEGIN { n = split(names, line, "\n"); for (i = 1; i <= n; i++) { split(line[i], pair, " "); path[pair[1]] = pair[2] } }
  {
    split($1, part, ":"); object = part[2]; sub(/\.c\.o$/, "", object)
    if (!(object in path)) next
    kind = $(NF - 1); symbol = $NF
    if (kind ~ /^[TDBRVWC]$/) home[symbol] = path[object]
    else if (kind == "U") { user[++count] = path[object]; used[count] = symbol }
  }
  END { for (i = 1; i <= count; i++) if (used[i] in home && home[used[i]] != user[i]) print user[i], home[used[i]], used[i] }' | sort -u
}

check_objects() { # ROOT LIBRARY...
  local user used symbol a b room files
  root=$1
  shift
  cd "$root" || exit 1
  calls "$@" >"$stripped"
  [ -s "$stripped" ] || { echo "$*: no calls between files were found"; violations=1; return; }
  while read -r user used symbol; do
    a=$(room_of "src/$user.c") b=$(room_of "src/$used.c")
    may_use "$a" "$b" || report "src/$user.c" 1 "$symbol, of src/$used.c" "$a must not call $b"
  done < <(awk '{ a = $1; b = $2; sub(/\/[^\/]*$/, "", a); sub(/\/[^\/]*$/, "", b); if (a != b) print }' "$stripped")
  for room in "${rooms[@]}"; do
    files=$(awk -v room="$room" '{ a = $1; b = $2; sub(/\/[^\/]*$/, "", a); sub(/\/[^\/]*$/, "", b)
      if (a == room && b == room) print $2, $1 }' "$stripped" | sort -u | tsort 2>&1 >/dev/null | sed -n 's/^tsort: \(.*\/.*\)/\1/p' | sort -u)
    [ -z "$files" ] || report "src/$room" 1 "$(tr '\n' ' ' <<<"$files")" "a circle of files"
  done
}

stripped=$(mktemp)
trap 'rm -rf "$stripped" "${copy:-}"' EXIT

if [ "${1:-}" = --objects ]; then
  shift
  libraries=()
  while [[ ${1:-} == *.a ]]; do
    libraries+=("$(realpath "$1")")
    shift
  done
  check_objects "${1:-$here}" "${libraries[@]}"
  [ "$violations" = 0 ] && echo "no call to a room above, no circle of files"
  exit $((violations > 0))
fi
if [ "${1:-}" != --self-test ]; then
  check_tree "${1:-$here}"
  [ "$violations" = 0 ] && echo "all layers keep to themselves"
  exit $((violations > 0))
fi

# ------------------------------------------------------------------ can it fail?

copy=$(mktemp -d)
cp -r "$here/src" "$here/include" "$copy"
bash "${BASH_SOURCE[0]}" "$copy" >/dev/null || { echo "the tree itself has violations: see the check"; exit 1; }
planted=() harmless=()
plant() { # FILE LINE: has to be found
  printf '%s\n' "$2" >>"$copy/$1"
  planted+=("$1" "$2")
}
harmless() { # FILE LINE: may stand there
  printf '%s\n' "$2" >>"$copy/$1"
  harmless+=("$2")
}
plant src/base/error.c '#include "reap/graph.h"'
plant src/model/graph.c '#include "linalg/dense.h"'
plant src/linalg/dense.c '#include "reap/graph.h"'
plant src/model/graph.c '#include "operators/rules.h"'
plant src/model/operators/layout.c '#include "model/prepare/linear.h"'
plant src/exec/plan.c '#include "stats/accumulator.h"'
plant src/io/dataset.c '#include "exec/evaluate.h"'
plant src/prune/sizes/budget.c '#include "options.h"'
plant src/prune/solver/fit.c '#include "prune/run/run.h"'
plant src/stats/rows.c '#include "prune/run/run.h"'
plant include/reap/solver.h '#include "reap/method.h"'
plant include/reap/graph.h '#include "reap/dataset.h"'
plant include/reap/graph.h '#include "model/operators/layout.h"'
plant src/prune/prune.c 'static MPI_Comm world;'
plant src/stats/rows.c 'static void w(void) { MPI_Barrier(MPI_COMM_WORLD); }'
plant src/exec/plan.c 'static hid_t f(void) { return H5Fopen("x", 0, 0); }'
plant src/exec/primitives/im2col.c 'static dnnl_engine_t e;'
plant src/model/tensor.c 'static ReapOnnx__ModelProto *m;'
plant src/prune/solver/elimination.c 'void f(void) { pdpotrf_("L"); }'
plant src/comm/comm.c 'static int g(int *n) { return numroc_(n, n, n, n, n); }'
plant src/prune/prune.c '#include <cjson/cJSON.h>'
plant src/app/report.c 'static void add(cJSON *a, cJSON *b) { cJSON_AddItemToArray(a, b); }'
plant src/app/options/options.c 'static void stop(void) { exit(1); }'
plant src/linalg/dense.c 'static void stop(void) { abort (); }'
plant src/comm/comm.c 'static void stop(MPI_Comm mpi) { MPI_Abort(mpi, 1); }'
plant src/io/dataset.c 'static void stop(void) { _exit(1); }'
plant src/exec/plan.c 'static int64_t channels(const reap_value *v) { return v->dims[1]; }'
plant src/stats/rows.c 'static bool image(const reap_value *v) { return v->rank == 4; }'
plant src/prune/prune.c 'static bool last(const reap_graph *g, const reap_node *n) { return reap_linear_axis(g, n) != 1; }'
plant src/model/groups/surgery.c 'static bool second(int channel_axis) { return channel_axis == 1; }'
plant src/prune/run/steps.c 'static int first(const reap_group *g) { return g->members[0].node; }'
plant src/prune/sizes/budget.c 'static int start(const reap_group *g) { return g->members->node; }'
plant src/model/groups/channel_map.c 'static bool pads(const reap_node *n) { return strcmp(n->op->name, "Pad") == 0; }'
plant src/prune/run/steps.c 'static bool is_pad(const reap_node *n) { return n->op->id == REAP_OP_Pad; }'
harmless src/prune/prune.c '/* MPI_Comm, H5Fopen and exit() in a comment */'
harmless src/model/operators/shapes.c 'static int64_t channels(const reap_value *v) { return v->rank == 4 ? v->dims[1] : 0; }'
harmless src/model/groups/groups.c 'static int foremost(const reap_group *g) { return g->members[0].node; }'
harmless src/exec/plan.c 'static int64_t length(const int64_t *dims, const int *axis) { return dims[axis[1]] == 1 ? dims[0] : dims[10]; }'
harmless src/model/graph.c 'static const char *const s = "MPI_Init, exit(1), dnnl_engine";'
answer=$(bash "${BASH_SOURCE[0]}" "$copy") && { echo "the check passed all the same"; exit 1; }
missed=0
for ((i = 0; i < ${#planted[@]}; i += 2)); do # the text stands below FILE:LINE: REASON
  grep -qxF -- "    ${planted[i + 1]}" <(grep -A1 -F "${planted[i]}:" <<<"$answer") && continue
  echo "not found: ${planted[i]}: ${planted[i + 1]}"
  missed=$((missed + 1))
done
for line in "${harmless[@]}"; do
  grep -qF -- "    $line" <<<"$answer" || continue
  echo "wrongly found: $line"
  missed=$((missed + 1))
done

# Object code: a call upwards and a circle, hidden behind declarations of their own.
mkdir -p "$copy/objects/src/base" "$copy/objects/src/comm"
echo 'void in_comm(void); void in_base(void); void in_base(void) { in_comm(); }' >"$copy/objects/src/base/low.c"
echo 'void in_comm(void); void other(void); void in_comm(void) { other(); }' >"$copy/objects/src/comm/one.c"
echo 'void in_comm(void); void other(void); void other(void) { in_comm(); }' >"$copy/objects/src/comm/two.c"
(cd "$copy/objects" && for file in src/*/*.c; do "${CC:-cc}" -c "$file" -o "$(basename "$file").o" || exit 1; done && ar rc library.a ./*.o) || exit 1
answer=$(bash "${BASH_SOURCE[0]}" --objects "$copy/objects/library.a" "$copy/objects") && { echo "the check of object code passed all the same"; exit 1; }
for text in 'src/base/low.c:1: base must not call comm' 'src/comm:1: a circle of files' 'comm/one comm/two'; do
  grep -qF -- "$text" <<<"$answer" && continue
  echo "not found in object code: $text"
  missed=$((missed + 1))
done
[ "$missed" = 0 ] && echo "every one of $((${#planted[@]} / 2)) planted violations was found"
exit $((missed > 0))
