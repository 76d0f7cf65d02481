#!/bin/bash
# A Slurm controller and two nodes on this machine, and scripts/launch/slurm_array.sh on them as it is written: one task
# is killed and put into the queue again, and one node dies in the middle of its task.
#
#   apt-get install slurm-wlm munge
#   tests/clusters/slurm_cluster.sh NEW_FOLDER
#
# As root, with xray-scan and xray-merge on the PATH. Ends with 0 when every checkpoint has one row. See docs/soak.md.
set -eu
folder=$(realpath -m "$1")
launch=$(realpath "$(dirname "$0")/../../scripts/launch/slurm_array.sh")
host=$(hostname -s)
mkdir "$folder" "$folder/state" "$folder/spool" "$folder/out"
export SLURM_CONF="$folder/slurm.conf"
cat >"$SLURM_CONF" <<END
ClusterName=soak
SlurmctldHost=$host
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
SlurmctldPort=26817
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=15
KillWait=3
MinJobAge=3600
NodeName=n1 NodeHostname=$host Port=26818 CPUs=4 RealMemory=20000 Gres=gpu:1 State=UNKNOWN
NodeName=n2 NodeHostname=$host Port=26819 CPUs=4 RealMemory=20000 Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
END
printf 'NodeName=n[1-2] Name=gpu File=/dev/null\n' >"$folder/gres.conf"
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >"$folder/cgroup.conf"

end() {
  kill $(cat "$folder"/*.pid 2>/dev/null) 2>/dev/null || true
}
trap end EXIT
wait_for() { # what, seconds, command ...
  local what=$1 left=$(($2 * 2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    sleep 0.5
    left=$((left - 1))
    if [ $left -le 0 ]; then
      echo "waited in vain: $what"
      squeue --all || true
      exit 1
    fi
  done
}
rows() { cat "$folder/out/rows-0000$1-of-00004.jsonl" 2>/dev/null | wc -l; }
begun() { [ "$(rows "$1")" -ge 1 ]; }
state() { scontrol show job "$job"_"$1" -o | head -1 | grep -o 'JobState=[A-Z]*'; }
is() { [ "$(state "$1")" = "JobState=$2" ]; }
raw_id() { squeue --noheader --states=all --format=%A --jobs="${job}_$1"; }
task_processes() { # of task $1: its script and what that has started
  grep -slzx "SLURM_JOB_ID=$(raw_id "$1")" /proc/[0-9]*/environ | cut -d/ -f3
}
ended() { [ -z "$(squeue --noheader --states=all --format=%T --jobs="$job" | grep -v -e COMPLETED -e FAILED)" ]; }

if ! munge -n >/dev/null 2>&1; then
  mkdir -p /run/munge
  chown munge: /run/munge
  setpriv --reuid=munge --regid=munge --clear-groups /usr/sbin/munged
fi
slurmctld
slurmd -N n1
slurmd -N n2
wait_for "nodes" 60 sh -c '[ "$(sinfo --noheader --Node --states=idle | wc -l)" = 2 ]'
sinfo --Node

python -c "
import sys
from pathlib import Path
from tests import factory
from tests.sweep import soak_zoo
folder = Path(sys.argv[1])
(folder / 'zoo').mkdir()
for number in range(80):
    factory.save_tiny(folder / 'zoo' / f'{number:02d}.safetensors', number)
factory.save_samples(folder / 'samples.npz', soak_zoo.truthful_samples())
" "$folder"
cd "$folder"
job=$(sbatch --parsable --array=0-3 \
  --export=ALL,CHECKPOINTS="$folder/zoo",SAMPLES="$folder/samples.npz",OUT="$folder/out/rows.jsonl" "$launch")
echo "job $job"

wait_for "the first row of task 0" 120 begun 0
kill -KILL $(task_processes 0) 2>/dev/null || true
wait_for "the end of task 0" 60 is 0 FAILED
echo "task 0 killed with $(rows 0) of 20 rows: $(state 0)"
scontrol requeue "${job}_0"

wait_for "the first row of task 3" 300 begun 3
node=$(squeue --noheader --format=%N --jobs="${job}_3")
echo "node $node dies with $(rows 3) of 20 rows of task 3"
step=$(ps -eo pid=,args= | awk -v step="[$(raw_id 3).batch]" '$2 == "slurmstepd:" && $3 == step {print $1}')
kill -KILL "$(cat "$folder/$node.pid")" $step $(task_processes 3) 2>/dev/null || true
wait_for "Slurm to notice it" 120 sh -c "sinfo --noheader --Node --nodes=$node --format=%T | grep -q down"
slurmd -N "$node"

wait_for "the end of the array" 600 ended
squeue --states=all --jobs="$job" --format='%i %T %N %r'
xray-merge --rows="$folder/out/rows-*-of-00004.jsonl" --checkpoints="$folder/zoo" --out="$folder/rows.jsonl"
python - "$folder" <<'END'
import collections, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
names = [json.loads(line)["id"] for file in sorted((folder / "out").glob("rows-*.jsonl")) for line in file.open()]
rows = [json.loads(line) for line in (folder / "rows.jsonl").open()]
doubled = [name for name, count in collections.Counter(names).items() if count > 1]
print(f"{len(names)} rows in the shards, {len(rows)} merged, doubled: {doubled}")
print(collections.Counter(row["status"] for row in rows))
sys.exit(len(rows) != 80 or bool(doubled) or any(row["status"] != "ok" for row in rows))
END
