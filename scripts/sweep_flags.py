"""Flags that say which part of a sweep this process does, and who does the work."""

from pathlib import Path
from typing import Any

from absl import flags

from xray_jax.scripts import command_help, unused_flags
from xray_jax.sweep.isolated import IsolationOptions
from xray_jax.sweep.ray_backend import RayOptions
from xray_jax.sweep.shards import Shard, resolve
from xray_jax.sweep.sources.options import GIB, SourceOptions

with command_help.group("Speed"):
    SPREAD = flags.DEFINE_bool("spread", False, "One checkpoint per local device: for small networks on many devices.")
with command_help.group("Worker processes"):
    ISOLATE = flags.DEFINE_bool("isolate", False, "Scan in worker processes: a checkpoint that ends one costs a row.")
    WORKERS = flags.DEFINE_integer("workers", None, "Worker processes, which share the CPUs; default: 1.")
    TIMEOUT = flags.DEFINE_float("timeout", None, "Seconds that a checkpoint may take; default: 3600.")
    MEMORY = flags.DEFINE_float("memory", None, "GiB that a worker process may write to (Linux); default: no limit.")
    WORKER_NETWORK = flags.DEFINE_bool("worker_network", None, "Worker processes keep the network, for plugins.")
_OF_WORKERS = (WORKERS, TIMEOUT, MEMORY, WORKER_NETWORK)
with command_help.group("Checkpoints elsewhere"):
    CACHE = flags.DEFINE_string("cache", None, "Folder of fetched copies, kept; default: one of the run's own.")
    CACHE_LIMIT = flags.DEFINE_float("cache_limit", 20.0, "GiB that fetched copies may take together.")
    MAX_DOWNLOAD = flags.DEFINE_float("max_download", 10.0, "GiB that a checkpoint may have to be fetched.")
with command_help.group("Many machines"):
    SHARD_INDEX = flags.DEFINE_integer("shard_index", None, "Which shard, from 0; default: from Slurm or Kubernetes.")
    NUM_SHARDS = flags.DEFINE_integer("num_shards", None, "Shards of the sweep; each writes its own row file.")
    DISTRIBUTED = flags.DEFINE_bool("distributed", False, "One shard per process of the pod, MPI or Slurm step.")
    BACKEND = flags.DEFINE_enum("backend", "local", ["local", "ray"], "Scan in this process, or on a Ray cluster.")
    RAY_ADDRESS = flags.DEFINE_string("ray_address", None, "Ray cluster; default: RAY_ADDRESS, else a new one here.")
    RAY_ACTORS = flags.DEFINE_integer("ray_actors", None, "Actors; default: one per GPU, or per --ray_cpus CPUs.")
    RAY_CPUS = flags.DEFINE_integer("ray_cpus", 4, "CPUs of an actor that has no GPU.")


def shard() -> Shard:
    """The shard that flags or the launcher's variables name."""
    return resolve(SHARD_INDEX.value, NUM_SHARDS.value, distributed=DISTRIBUTED.value)


def ray() -> RayOptions | None:
    """Options of `--backend=ray`, None for the local one.

    Raises:
      ValueError: one of them is given without it.
    """
    if BACKEND.value == "local":
        unused_flags.refuse([RAY_ADDRESS, RAY_ACTORS, RAY_CPUS], "is of a Ray cluster: give --backend=ray too")
        return None
    return RayOptions(RAY_ADDRESS.value, RAY_ACTORS.value, RAY_CPUS.value)


def sources() -> SourceOptions:
    """How checkpoints that lie elsewhere are fetched."""
    limits = {
        name: int(flag.value * GIB) for name, flag in (("cache_limit", CACHE_LIMIT), ("max_download", MAX_DOWNLOAD))
    }
    return SourceOptions(Path(CACHE.value).expanduser() if CACHE.value else None, **limits)


def isolation() -> IsolationOptions | None:
    """Options of `--isolate`, None for this process.

    Raises:
      ValueError: one of them is given without it.
    """
    if not ISOLATE.value:
        unused_flags.refuse(_OF_WORKERS, "is of worker processes: give --isolate too")
        return None
    given: dict[str, Any] = {flag.name: flag.value for flag in _OF_WORKERS if flag.value is not None}
    return IsolationOptions(**given)
