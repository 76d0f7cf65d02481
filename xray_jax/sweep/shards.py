"""Which part of a sweep is this process's: a pure split that every host computes alone, and never talks about.

Hosts share nothing but the manifest. Each scans its shard and writes its own row file; `xray-merge` puts them together.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_jax.sweep.checkpoint_list import Entry

_PODS = (
    ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
"""Launchers' variables: index of the process, number of processes."""

_ASK_JAX = """
import json, sys, jax
jax.distributed.initialize(*json.loads(sys.argv[1]), initialization_timeout=int(sys.argv[2]))
jax.config.update("jax_platforms", "cpu")
print(json.dumps([jax.process_index(), jax.process_count()]), flush=True)
jax.distributed.shutdown()
"""


class ShardError(ValueError):
    """The shard cannot be told; the message names the flag or variable and what to do."""


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ShardError(f"--num_shards must be at least 1, got {self.count}")
        if not 0 <= self.index < self.count:
            raise ShardError(
                f"--shard_index must be in 0 .. {self.count - 1} for {self.count} shards, got {self.index}"
            )

    def of(self, entries: Sequence[Entry]) -> list[Entry]:
        """This shard's entries: those whose ids hash to it, the same on every host.

        Which shard has a checkpoint depends on its id and on `count` alone, not on what else is listed: hosts that
        list at different moments, while files come and go, neither lose a checkpoint nor scan one twice. The price is
        that shards are as even as dice: of n entries a shard has n / count, give or take the square root of that, and
        so of each architecture. Neighbours in a folder are spread, and a shard meets one architecture after the other.
        A sweep of one shard keeps the manifest's order.
        """
        if self.count == 1:
            return list(entries)
        own = [entry for entry in entries if int.from_bytes(_digest(entry)) % self.count == self.index]
        return sorted(own, key=lambda entry: (entry.architecture or "", _digest(entry), entry.id))

    def file(self, path: str | Path) -> Path:
        """The shard's own row file: `rows.jsonl` becomes `rows-00003-of-00064.jsonl`; one shard keeps the name."""
        path = Path(path)
        if self.count == 1:
            return path
        return path.with_name(f"{path.stem}-{self.index:05d}-of-{self.count:05d}{path.suffix}")


def _digest(entry: Entry) -> bytes:
    # Surrogates stand for undecodable bytes of file names, and JSON may hold any.
    return hashlib.sha256(entry.id.encode(errors="surrogatepass")).digest()


def resolve(
    index: int | None = None,
    count: int | None = None,
    *,
    distributed: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Shard:
    """The shard from flags, else from what the launcher set, else the whole sweep.

    Args:
      index, count: `--shard_index` and `--num_shards`, None where not given.
      distributed: `--distributed`: shards are the processes of a pod or of an MPI or Slurm step.
      environment: variables to look at instead of the process's own.

    Raises:
      ShardError: half of the answer is missing, or the parts contradict each other.
    """
    env = os.environ if environment is None else environment
    if index is not None and count is not None:
        return Shard(index, count)
    if index is not None:
        raise ShardError(f"--shard_index={index} needs --num_shards")
    if distributed:
        found = _pod(env) or ask_jax()
        if count not in (None, found.count):
            raise ShardError(f"--num_shards={count}, but --distributed finds {found.count} processes; leave one out")
        return found
    if "SLURM_ARRAY_TASK_ID" in env:
        return _slurm_array(env, count)
    if "JOB_COMPLETION_INDEX" in env:
        if count is None:
            raise ShardError(
                "JOB_COMPLETION_INDEX is set, but Kubernetes does not tell a pod how many there are: "
                "give --num_shards, the job's `completions`"
            )
        return Shard(_integer(env, "JOB_COMPLETION_INDEX"), count)
    if count in (None, 1):
        return Shard()
    raise ShardError(f"--num_shards={count} needs --shard_index (no Slurm array, no Kubernetes job, no --distributed)")


def _pod(env: Mapping[str, str]) -> Shard | None:
    for index, count in _PODS:
        if index in env and count in env:
            return Shard(_integer(env, index), _integer(env, count))
    if "TPU_WORKER_ID" in env and env.get("TPU_WORKER_HOSTNAMES"):
        return Shard(_integer(env, "TPU_WORKER_ID"), len(env["TPU_WORKER_HOSTNAMES"].split(",")))
    return None


def _slurm_array(env: Mapping[str, str], count: int | None) -> Shard:
    task = _integer(env, "SLURM_ARRAY_TASK_ID")
    if count is not None:
        return Shard(task, count)
    bounds = [_integer(env, f"SLURM_ARRAY_TASK_{name}") for name in ("MIN", "MAX", "COUNT")]
    # A rerun of single tasks (--array=3) counts 1: without this check it would scan everything again.
    if bounds[0] != 0 or bounds[1] != bounds[2] - 1:
        raise ShardError(
            f"the Slurm array runs from {bounds[0]} to {bounds[1]} with {bounds[2]} tasks: number it 0 .. n - 1, "
            "or give --num_shards (needed when single tasks are run again)"
        )
    return Shard(task, bounds[2])


def _integer(env: Mapping[str, str], name: str) -> int:
    try:
        return int(env[name])
    except (KeyError, ValueError):
        raise ShardError(f"{name} must be set to a whole number, got {env.get(name)!r}") from None


def ask_jax(arguments: Sequence[str | int] = (), timeout: int = 300) -> Shard:
    """The process's place among those that `jax.distributed` finds, on clusters that only it can detect.

    Asked in a child process that leaves the service once all have their answer, and that makes no backend but CPU's. A
    process that stays in it is ended when another dies (seen with jax 0.10.2, within its heartbeat timeout), keeps a
    `jax.process_count()` over one after leaving, which checkpoint readers take for an invitation to wait for the
    others, and is aborted, not given an exception, when one never comes. Here only the child is.

    Args:
      arguments: coordinator address, number of processes, index; none where JAX can detect them.
      timeout: seconds to wait for the other processes to start.
    """
    command = [sys.executable, "-c", _ASK_JAX, json.dumps(list(arguments)), str(timeout)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        index, count = json.loads(child.stdout.splitlines()[0])
    except (IndexError, ValueError):
        reason = [line for line in child.stderr.splitlines() if "Error" in line or "error" in line][-1:] or [
            "no answer"
        ]
        raise ShardError(
            f"--distributed: JAX cannot tell this process's index ({reason[0].strip()}); "
            "give --shard_index and --num_shards instead"
        ) from None
    return Shard(index, count)
