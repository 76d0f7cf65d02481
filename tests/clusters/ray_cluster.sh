#!/bin/bash
# A Ray cluster of three nodes, each in a network namespace of this machine, and a batch scan on it; one node is cut off
# in the middle of the scan.
#
#   tests/clusters/ray_cluster.sh NEW_FOLDER
#
# As root on Linux, with ray and xray-scan on the PATH. Ends with 0 when every checkpoint has one row. See docs/soak.md.
set -eu
folder=$(realpath -m "$1")
mkdir "$folder"
checkpoints=60
export RAY_USAGE_STATS_ENABLED=0
# The head of newer versions asks the other nodes for a token; this one is of this cluster alone.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

in_node() { # number, command ...
  local node=$1
  shift
  ip netns exec "soak$node" "$@"
}
end() {
  local each
  for node in 1 2 3; do
    for each in $(ip netns pids "soak$node" 2>/dev/null); do kill -KILL "$each" 2>/dev/null || true; done
    ip netns delete "soak$node" 2>/dev/null || true
  done
  ip link delete soakbridge 2>/dev/null || true
}
trap end EXIT

ip link add soakbridge type bridge
ip link set soakbridge up
for node in 1 2 3; do
  ip netns add "soak$node"
  ip link add "soakveth$node" type veth peer name eth0 netns "soak$node"
  ip link set "soakveth$node" master soakbridge up
  in_node $node ip address add "10.77.0.$node/24" dev eth0
  in_node $node ip link set eth0 up
  in_node $node ip link set lo up
done
common="--num-cpus=1 --num-gpus=0 --disable-usage-stats --object-store-memory=100000000"
in_node 1 ray start --head --node-ip-address=10.77.0.1 --port=6379 --include-dashboard=false \
  --temp-dir="$folder/ray" $common >"$folder/node1.log" 2>&1
for node in 2 3; do
  in_node $node ray start --address=10.77.0.1:6379 --node-ip-address=10.77.0.$node $common \
    >"$folder/node$node.log" 2>&1
done

python -c "
import sys
from pathlib import Path
from tests import factory
from tests.sweep import soak_zoo
folder = Path(sys.argv[1])
(folder / 'zoo').mkdir()
for number in range(int(sys.argv[2])):
    factory.save_tiny(folder / 'zoo' / f'{number:02d}.safetensors', number)
factory.save_samples(folder / 'samples.npz', soak_zoo.truthful_samples())
" "$folder" $checkpoints
cd "$folder"
rows() { cat rows.jsonl 2>/dev/null | wc -l; }
in_node 1 xray-scan --backend=ray --ray_address=10.77.0.1:6379 --ray_cpus=1 --ray_actors=3 --checkpoints=zoo \
  --samples="$folder/samples.npz" --out="$folder/rows.jsonl" >scan.log 2>&1 &
scan=$!
while [ "$(rows)" -lt 16 ] && kill -0 $scan 2>/dev/null; do sleep 0.2; done
echo "node 3 is cut off at $(rows) rows"
ip link set soakveth3 down
cut=$SECONDS
code=0
wait $scan || code=$?
echo "xray-scan ended with $code, $((SECONDS - cut)) s later"
python - <<END
import collections, json, sys
rows = [json.loads(line) for line in open("rows.jsonl")]
counts = collections.Counter(row["id"] for row in rows)
doubled = [name for name, count in counts.items() if count > 1]
print(f"{len(rows)} rows, doubled: {doubled}, {collections.Counter(row['status'] for row in rows)}")
sys.exit(len(counts) != $checkpoints or bool(doubled) or any(row["status"] != "ok" for row in rows))
END
