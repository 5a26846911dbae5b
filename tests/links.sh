#!/usr/bin/env bash
# Links that are cut under a run on three hosts: it has to end within --stall-timeout with status 7 and say what it waited for, and to
# go on from its checkpoint, on all hosts or on the two that are left, to the same network.
#
#   tests/links.sh [PROGRAM [TIMES]]       default build/reap, 8 cuts
#
# The hosts are network namespaces of this machine, joined by a bridge in a fourth one; Open MPI talks over TCP between them, and
# starts its daemons by a small script in place of ssh. Where TCP gives up soon (net.ipv4.tcp_retries2=3) mpirun ends with the status
# of the ranks. Every fourth time TCP is as Linux has it, and the stall time longer than mpirun's own probes take: then mpirun ends
# the run first, with a status of its own (205). Needs root and the right to make namespaces; else says that it is skipped.
# All is removed on every way out. Takes three minutes or so.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "${1:-$here/../build/reap}") || exit 1
times=${2:-8}
PATH=$PATH:/usr/sbin:/sbin
mark=reap$$ net=10.77.0
for tool in ip unshare mpirun; do
  command -v $tool >/dev/null || { echo "SKIPPED cut links: $tool is not there"; exit 0; }
done
ip netns add "$mark-0" 2>/dev/null || { echo "SKIPPED cut links: no network namespaces can be made here"; exit 0; }
place=$(mktemp -d /tmp/reap-links-XXXXXX)
failures=0 checks=0

stop() {
  local i pid
  trap - EXIT INT TERM HUP
  for i in 1 2 3 0; do
    for pid in $(ip netns pids "$mark-$i" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
    ip netns del "$mark-$i" 2>/dev/null
    rm -rf "/etc/netns/$mark-$i" "/tmp/ompi.$mark-$i."*
  done
  rmdir /etc/netns 2>/dev/null
  rm -rf "$place"
}
trap stop EXIT
trap 'exit 1' INT TERM HUP

check() { # WHAT COMMAND...
  checks=$((checks + 1))
  local what=$1
  shift
  "$@" && return
  failures=$((failures + 1))
  printf 'FAILED: %s\n' "$what"
  tail -n 12 "$place/log.txt" | sed 's/^/    /'
}

# ------------------------------------------------------------------ three hosts
ip -n "$mark-0" link add bridge type bridge && ip -n "$mark-0" link set bridge up || exit 1
for i in 1 2 3; do
  ip netns add "$mark-$i"
  ip -n "$mark-$i" link add eth0 type veth peer name "port$i" netns "$mark-0"
  ip -n "$mark-0" link set "port$i" master bridge up
  ip -n "$mark-$i" addr add "$net.$i/24" dev eth0
  ip -n "$mark-$i" link set eth0 up
  ip -n "$mark-$i" link set lo up
  mkdir -p "/etc/netns/$mark-$i" # taken for /etc by ip netns exec
  printf '127.0.0.1 localhost\n%s.1 %s-1\n%s.2 %s-2\n%s.3 %s-3\n' $net "$mark" $net "$mark" $net "$mark" >"/etc/netns/$mark-$i/hosts"
done

# agent HOST COMMAND...: what ssh would do
cat >"$place/agent" <<'AGENT'
#!/bin/sh
host=$1
shift
exec ip netns exec "$host" unshare --uts sh -c 'hostname "$0" && exec sh -c "$*"' "$host" "$@"
AGENT
chmod +x "$place/agent"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
export OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_agent=$place/agent OMPI_MCA_plm_rsh_no_tree_spawn=1 OMPI_MCA_btl=tcp,self OMPI_MCA_pml=ob1
export OMPI_MCA_btl_tcp_if_include=$net.0/24 OMPI_MCA_oob_tcp_if_include=$net.0/24 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_oob_tcp_keepalive_time=5 OMPI_MCA_oob_tcp_keepalive_intvl=2 OMPI_MCA_oob_tcp_keepalive_probes=3 # as the job scripts

cd "$place" || exit 1
command=(prune "$here/../datasets/fashion/resnet-fashion.onnx" --calib "$here/../datasets/fashion/fashion-calib.h5" --images 100 --flops 0.6 --ratios path
  --solver local -o out.onnx --report r.json --progress none --checkpoint c.h5)
run() { # "HOSTS" ARGS...: a rank on each, from the first
  local hosts=$1 first=${1%% *}
  shift
  timeout -k 5 300 "$place/agent" "$mark-$first" exec mpirun -H "$mark-${hosts// /,$mark-}" "$program" "${command[@]}" "$@" >log.txt 2>&1
}
# A link that is up again may carry nothing for a moment. A daemon of Open MPI's that is started before ends at once, and mpirun
# waits for it for ever. A port where nobody listens refuses: then the host is there.
reachable() { # FROM TO
  local k
  for ((k = 0; k < 60; k++)); do
    [[ $(ip netns exec "$mark-$1" timeout 1 bash -c "echo >/dev/tcp/$net.$2/9" 2>&1) = *refused* ]] && return
    sleep 0.5
  done
  return 1
}
seconds() { date +%s.%N; }
difference() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", b - a }'; }

begun=$(seconds)
run "1 2 3"
check "a run on three hosts" [ $? = 0 ]
whole=$(difference "$begun" "$(seconds)")
cp out.onnx whole.onnx || exit 1
echo "unbroken: $whole s on 3 hosts"
echo "| cut | after | stall time | status | ended in | resumed on hosts | network |"
echo "|---|---|---|---|---|---|---|"
ways=("3|1 2" "2|1 2 3" "1|2 3" "3|1 2 3" "1|1 2 3" "2|1 3") # the host that is cut off, and those of the resumption
for ((i = 0; i < times; i++)); do
  cut=${ways[i % 6]%|*} hosts=${ways[i % 6]#*|}
  after=$(awk -v w="$whole" -v i="$i" -v n="$times" 'BEGIN { printf "%.1f", w * (i + 0.7) / (n + 1) }')
  stall=4 retries=3 wanted=7
  [ $((i % 4)) = 3 ] && stall=60 retries=15 wanted=205
  for k in 1 2 3; do ip netns exec "$mark-$k" sysctl -qw net.ipv4.tcp_retries2=$retries; done
  rm -f out.onnx c.h5 r.json
  for try in 1 2 3 4 5; do # sooner, if the run is over before the cut
    run "1 2 3" --stall-timeout $stall &
    pid=$!
    sleep "$after"
    kill -0 $pid 2>/dev/null && break
    wait $pid
    rm -f out.onnx c.h5 r.json
    after=$(awk -v a="$after" 'BEGIN { printf "%.1f", 0.7 * a }')
  done
  begun=$(seconds)
  ip -n "$mark-0" link set "port$cut" down
  status=0
  wait $pid || status=$?
  took=$(difference "$begun" "$(seconds)")
  check "host $cut cut off after $after s: status $status" [ "$status" = $wanted ]
  [ $wanted = 205 ] || check "host $cut cut off after $after s: what was waited for" grep -q "has waited [0-9]* s for .*, or a link is gone" log.txt
  check "host $cut cut off after $after s: an output is there" [ ! -e out.onnx ]
  for ((k = 0; k < 300; k++)); do # what was cut off has ended by itself
    [ -z "$(ip netns pids "$mark-$cut")" ] && break
    sleep 0.2
  done
  check "host $cut: processes stay" [ "$k" -lt 300 ]
  if [ "$hosts" = "1 2 3" ]; then
    ip -n "$mark-0" link set "port$cut" up
    for k in 1 2 3; do
      [ $k = "$cut" ] || check "host $cut: not there again" reachable "$cut" $k
      [ $k = "$cut" ] || check "host $cut: not there again" reachable $k "$cut"
    done
  fi
  run "$hosts" --resume # options of waiting are no part of a run
  check "resumed on hosts $hosts" [ $? = 0 ]
  same=another
  cmp -s out.onnx whole.onnx && same="the same"
  check "resumed on hosts $hosts: another network" [ "$same" = "the same" ]
  ip -n "$mark-0" link set "port$cut" up
  echo "| host $cut | $after s | $stall s | $status | $took s | $hosts | $same |"
done
echo "$checks checks of cut links, $failures failed"
exit $((failures > 0))
