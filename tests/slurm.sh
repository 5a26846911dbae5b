#!/usr/bin/env bash
# The job scripts on a real Slurm: a controller and two nodes are started on this machine, used and stopped.
#
#   tests/slurm.sh [PROGRAM]       default build/reap; installs slurm-wlm and munge if they are missing (jobs/setup.sh)
#
# Everything lives in a folder of its own below /tmp, with sockets and ports of its own: a Slurm that runs here already is not touched.
# All of it is stopped and removed on every way out. Takes one to three minutes.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../jobs/setup.sh"
program=$(realpath "${1:-$reap_build/reap}") || exit 1
reap_install slurm-wlm munge || exit 1
reap_mpi_environment
# Open MPI names what ranks on a node share by the host's name and their number on the node: two nodes of one host would meet there.
export OMPI_MCA_btl=^vader
PATH=$PATH:/usr/sbin:/sbin
for tool in munged slurmctld slurmd sbatch scontrol; do
  command -v $tool >/dev/null || { echo "FAILED: $tool is not there"; exit 1; }
done

place=$(mktemp -d /tmp/reap-slurm-XXXXXX)
chmod 755 "$place"
failures=0 checks=0

# Whatever is started for this test has a mark in its environment.
export REAP_SLURM_TEST=$place
ours() { (unset REAP_SLURM_TEST; grep -lzxF -- "REAP_SLURM_TEST=$place" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); }
stop() {
  local signal pid i
  trap - EXIT INT TERM HUP
  scancel --quiet --user "$(id -un)" 2>/dev/null
  unset REAP_SLURM_TEST
  for signal in TERM KILL; do
    for pid in $(ours); do kill -$signal "$pid" 2>/dev/null; done
    for ((i = 0; i < 50; i++)); do
      [ -n "$(ours)" ] || break 2
      sleep 0.1
    done
  done
  rm -rf "$place"
}
trap stop EXIT
trap 'exit 1' INT TERM HUP

fail() {
  failures=$((failures + 1))
  printf 'FAILED: %s\n' "$*"
}
check() { # check WHAT COMMAND...
  checks=$((checks + 1))
  local what=$1
  shift
  "$@" || fail "$what"
}

# ------------------------------------------------------------------ two nodes
host=$(hostname -s) me=$(id -un) port=$((20000 + RANDOM % 20000))
as_munge=()
mkdir "$place/munge" "$place/state" "$place/tmp-node1" "$place/tmp-node2"
head -c 1024 /dev/urandom >"$place/munge/key"
chmod 400 "$place/munge/key"
if [ "$(id -u)" = 0 ]; then # munged does not like to be root
  chown -R munge "$place/munge"
  as_munge=(setpriv --reuid munge --regid munge --clear-groups)
fi
"${as_munge[@]}" munged --foreground --socket "$place/munge/socket" --key-file "$place/munge/key" --pid-file "$place/munge/pid" \
  --seed-file "$place/munge/seed" --log-file "$place/munge/log" >"$place/munged.out" 2>&1 &
cat >"$place/slurm.conf" <<END
ClusterName=reap
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$place/munge/socket,cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=5
ReturnToService=2
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool-%n
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd-%n.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd-%n.log
TmpFS=$place/tmp-%n
KillWait=5
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=2
NodeName=node2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=2
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$place/slurm.conf
for ((i = 0; i < 50; i++)); do
  [ -S "$place/munge/socket" ] && break
  sleep 0.1
done
slurmctld -D >"$place/slurmctld.out" 2>&1 &
for node in node1 node2; do slurmd -D -N $node >"$place/$node.out" 2>&1 & done
for ((i = 0; i < 300; i++)); do
  [ "$(sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | sort -u | wc -l)" = 2 ] && break
  sleep 0.1
done
if ! [ "$(sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | sort -u | wc -l)" = 2 ]; then
  echo "FAILED: the nodes are not idle after 30 s"
  tail -n 5 "$place"/*.log "$place"/*.out "$place/munge/log"
  exit 1
fi

# ------------------------------------------------------------------ jobs
work=$place/work
mkdir "$work"
cd "$work" || exit 1
export REAP=$program
fashion=$reap_root/datasets/fashion
data=("$fashion/resnet-fashion.onnx" --calib "$fashion/fashion-calib.h5" --images 200)

job() { # job STATUS LOG ARGS OF SBATCH...: submits, waits, compares the exit status
  local wanted=$1 log=$2 code=0
  shift 2
  timeout 300 sbatch --wait --quiet --output="$log" "$@" >sbatch.txt 2>&1 || code=$?
  checks=$((checks + 1))
  [ "$code" = "$wanted" ] && return
  fail "status $code, not $wanted: sbatch $*"
  { cat sbatch.txt; tail -n 15 "$log"; } 2>/dev/null | sed 's/^/    /'
}

ended() { # JOB: waits until it has left the queue, four minutes at most
  local i
  for ((i = 0; i < 2400; i++)); do
    [ -n "$(squeue --noheader --jobs="$1" 2>/dev/null)" ] || break
    sleep 0.1
  done
}

# A single run, on both nodes; the result is that of this machine without Slurm.
"$program" prune "${data[@]}" --flops 0.5 -o alone.h5 --onnx alone.onnx >/dev/null 2>&1 || fail "reap prune"
job 0 prune.log --nodes=2 --ntasks=3 "$reap_root/jobs/prune.sbatch" "${data[@]}" --flops 0.5 -o job.h5 --onnx job.onnx --report job.json
check "the job ran on both nodes" grep -q '^3 ranks of 1 threads on node\[1-2\]$' prune.log
check "the job had three ranks" grep -q '"ranks":[[:space:]]*3' job.json
check "the job's model is the same" cmp alone.onnx job.onnx
job 2 usage.log --ntasks=1 "$reap_root/jobs/prune.sbatch"
check "usage is told" grep -q '^usage: sbatch' usage.log
job 3 missing.log --ntasks=2 "$reap_root/jobs/prune.sbatch" missing.onnx --calib "$fashion/fashion-calib.h5" --flops 0.5 -o x.h5
check "reap's message is in the log" grep -q 'missing.onnx' missing.log

# Through srun, where this Slurm can start MPI programs itself.
if srun --mpi=list 2>&1 | grep -q pmix; then
  REAP_LAUNCH="srun --mpi=pmix" job 0 srun.log --nodes=2 --ntasks=2 "$reap_root/jobs/prune.sbatch" "${data[@]}" --flops 0.5 -o srun.h5 \
    --onnx srun.onnx --report srun.json
  check "srun started two ranks" grep -q '"ranks":[[:space:]]*2' srun.json
  check "the model is the same through srun" cmp alone.onnx srun.onnx
fi

# A series on 1, 2 and 4 ranks.
SCALING=series REPEAT=1 job 0 scaling.log --nodes=2 --ntasks=4 "$reap_root/jobs/scaling.sbatch" "${data[@]}" --flops 0.5
check "a line for 1, 2 and 4 ranks" [ "$(cut -d, -f1 series/table.csv | tr '\n' ' ')" = "ranks 1 2 4 " ]
check "nine numbers a line" awk -F, 'NR > 1 { for (i = 1; i <= 9; i++) if ($i !~ /^[0-9.e+-]+$/ || NF != 9) bad = 1 } END { exit bad || NR != 4 }' series/table.csv
check "a report of every number of ranks" [ "$(cat series/ranks-*.json | grep -c '"ranks":[[:space:]]*[124],')" = 3 ]
SCALING=weak REPEAT=1 IMAGES_PER_RANK=100 job 0 weak.log --ntasks=2 "$reap_root/jobs/scaling.sbatch" "$fashion/resnet-fashion.onnx" \
  --calib "$fashion/fashion-calib.h5" --flops 0.5
check "100 images a rank" grep -q -- '--images 200' weak/ranks-2.json
job 2 own.log --ntasks=2 "$reap_root/jobs/scaling.sbatch" "${data[@]}" --flops 0.5 -o x.h5

# An array over budgets; the task that ends last merges. One is done again.
sweep=("$reap_root/jobs/sweep_array.sbatch" "${data[@]}" --eval "$fashion/fashion-test.h5" -o S.h5)
BUDGETS="0.8 0.5 0.3" job 0 'array-%a.log' --array=0-2 --ntasks=1 "${sweep[@]}"
check "three settings" [ "$(find S.h5.d -name '*-flops-*-seed0.h5' | wc -l)" = 3 ]
check "a merged file" [ -s S.h5 ]
check "one task merged" [ "$(cat array-*.log | grep -c 'written *S.h5$')" = 1 ]
check "no lock is held" flock -n S.h5.d/merging true
rm -f S.h5 S.h5.d/*-flops-0.5-* S.h5.d/finished-flops-0.5
BUDGETS="0.8 0.5 0.3" job 0 'again-%a.log' --array=1 --ntasks=2 "${sweep[@]}"
check "merged once more" grep -q '3 of 3 settings are done already' again-1.log
check "a merged file again" [ -s S.h5 ]
job 2 'none-%a.log' --array=0 --ntasks=1 "${sweep[@]}"
BUDGETS="0.8 0.5" job 2 'many-%a.log' --array=2 --ntasks=1 "${sweep[@]}"

# A task put back into the queue while it runs goes on where it was.
rm -rf S.h5 S.h5.d
id=$(BUDGETS="0.9" sbatch --parsable --output='requeued-%a.log' --array=0 --ntasks=1 "${sweep[@]}" --method reap,random,l1 --seed 1,2)
for ((i = 0; i < 600; i++)); do
  ls S.h5.d/*seed*.h5 >/dev/null 2>&1 && break
  sleep 0.1
done
scontrol requeue "${id}_0" || fail "scontrol requeue"
ended "$id"
check "all six settings in the end" [ "$(find S.h5.d -name '*-flops-0.9-seed*.h5' | wc -l)" = 6 ]
check "the second start went on" grep -q 'of 6 settings are done already' requeued-0.log
check "the sweep was merged" [ -s S.h5 ]

# A single run that does not fit into its time: it stops before the limit, is put back and goes on, until it is done. The signal
# comes up to a minute before its time, and the limit is a minute: so the first runs have some seconds only.
long=("$reap_root/jobs/prune.sbatch" "$fashion/resnet-fashion.onnx" --calib "$fashion/fashion-calib.h5" --flops 0.5)
"$program" prune "${long[@]:1}" --onnx whole.onnx >/dev/null 2>&1 || fail "reap prune"
id=$(sbatch --parsable --output=limit.log --ntasks=1 --time=1 --signal=B:USR1@50 "${long[@]}" --onnx limit.onnx)
ended "$id"
check "the job was put back" grep -q 'back into the queue' limit.log
check "and went on" grep -q 'resumed from reap-prune-' limit.log
check "the network is the same" cmp whole.onnx limit.onnx
check "its checkpoint went" [ -z "$(ls reap-prune-*.h5 2>/dev/null)" ]

# A job put back from outside, as after a failed node.
id=$(sbatch --parsable --output=failed.log --nodes=2 --ntasks=2 "${long[@]}" --onnx failed.onnx)
for ((i = 0; i < 600; i++)); do
  [ -e "reap-prune-$id.h5" ] && break
  sleep 0.1
done
scontrol requeue "$id" || fail "scontrol requeue"
ended "$id"
check "it went on after the requeue" grep -q 'resumed from reap-prune-' failed.log
check "the network is the same after the requeue" cmp whole.onnx failed.onnx

echo "$checks checks on Slurm $(sinfo --version | cut -d' ' -f2), $failures failed"
[ "$failures" = 0 ]
