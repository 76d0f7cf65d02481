"""What a control group (of a container, a Slurm job, a systemd unit) leaves of its memory."""

from collections.abc import Iterator
from pathlib import Path

_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
_VERSION_2 = ("memory.max", "memory.current")
_CACHE = ("active_file", "inactive_file")
"""What files that were read have left in memory: given back as soon as somebody needs it, and counted as used."""


def free_bytes(root: Path = Path("/sys/fs/cgroup"), member: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Bytes that each control group of this process, and each around it, still allows.

    Args:
      root: where control groups are mounted.
      member: says which ones this process is in.
    """
    try:
        lines = member.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            top, files = root, _VERSION_2
        elif "memory" in controllers.split(","):
            top, files = root / "memory", _VERSION_1
        else:
            continue
        # In a container the name may be that of the machine's tree, and the container's own group the top.
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _free(folder, *files)


def _free(folder: Path, limit: str, usage: str) -> Iterator[int]:
    try:
        left = int((folder / limit).read_text()) - int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        # No such group, or one without a limit ("max").
        return
    # Of version 1 only what begins with "total" is of the groups inside as well.
    yield left + sum(int(stat.get(f"total_{name}", stat.get(name, 0))) for name in _CACHE)
