"""What a control group leaves, as files of either version say it."""

from pathlib import Path

import pytest

from xray_jax.inference import control_group

VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
VERSION_2 = ("memory.max", "memory.current")


def group(folder: Path, version: tuple[str, str], **files: str | int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = dict(zip(("limit", "usage", "stat"), (*version, "memory.stat"), strict=True))
    for name, value in files.items():
        (folder / names[name]).write_text(f"{value}\n")


def free(root: Path, member: str) -> list[int]:
    (root / "member").write_text(member)
    return list(control_group.free_bytes(root, root / "member"))


def test_what_files_have_left_in_memory_is_free(tmp_path: Path) -> None:
    group(tmp_path, VERSION_2, limit=100, usage=90, stat="anon 10\nactive_file 30\ninactive_file 40\nslab 5")
    # In a container its own group is the top, whatever the machine calls it.
    assert free(tmp_path, "0::/\n") == [80]
    assert free(tmp_path, "0::/docker/0123\n") == [80]
    group(tmp_path, VERSION_2, limit="max")
    assert free(tmp_path, "0::/\n") == []


def test_groups_around_count_too(tmp_path: Path) -> None:
    group(tmp_path / "slurm" / "job", VERSION_2, limit="max", usage=5, stat="active_file 0")
    group(tmp_path / "slurm", VERSION_2, limit=1000, usage=400, stat="active_file 100")
    assert free(tmp_path, "0::/slurm/job\n") == [700]
    group(tmp_path / "slurm" / "job", VERSION_2, limit=50)
    assert free(tmp_path, "0::/slurm/job\n") == [45, 700]


def test_version_1_has_a_tree_of_its_own_for_memory(tmp_path: Path) -> None:
    stat = "active_file 1\ninactive_file 1\ntotal_active_file 20\ntotal_inactive_file 10"
    group(tmp_path / "memory" / "a", VERSION_1, limit=200, usage=150, stat=stat)
    member = "9:name=systemd:/\n4:memory:/a\n3:cpuset,cpu:/a\n"
    assert free(tmp_path, member) == [80]
    assert free(tmp_path, "3:cpuset:/a\n") == []


@pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="reads what Linux says of this process")
def test_this_process_is_in_groups_that_leave_something() -> None:
    assert all(left > 0 for left in control_group.free_bytes())
