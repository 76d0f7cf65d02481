import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xray_jax.files import SUFFIX, atomic_write

KILLED = """
import os, signal, sys
from xray_jax.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("fsync", [False, True])
def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path, fsync: bool) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with atomic_write(path, fsync=fsync) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_text_is_utf8_and_rights_are_those_of_any_new_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a", "w") as file:
        file.write("ä")
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a").read_bytes() == "ä".encode()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("name", ["nofolder/a", "file/a", "folder"])
def test_errors_name_the_file_that_was_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory") as caught, atomic_write(tmp_path / name):
        pass
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / name), None)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_killed_writer_leaves_what_was_there_and_hinders_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = (name for name in os.listdir(tmp_path) if name != "a")
    assert left.startswith(".a.")
    assert left.endswith(SUFFIX)
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_two_writers_of_one_path_do_not_mix(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as first:
        first.write(b"first")
        with atomic_write(tmp_path / "a") as second:
            second.write(b"second, longer")
    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_folder_is_not_replaced_and_the_folder_must_exist(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"), atomic_write(tmp_path / "a") as file:
        file.write(b"")
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "b" / "c"):
        pass


def test_a_pipe_is_written_directly() -> None:
    end, start = os.pipe()
    with atomic_write(f"/dev/fd/{start}") as file:
        file.write(b"row")
    assert os.read(end, 10) == b"row"


def test_only_whole_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode 'a'"), atomic_write(tmp_path / "a", "a"):
        pass
