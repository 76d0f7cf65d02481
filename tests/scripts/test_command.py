import subprocess
import sys

import pytest

_PROGRAM = """
import logging
import jax
from xray_jax.scripts import command

def main():
    jax.devices()  # looks for accelerators, and logs at INFO what it misses
    logging.getLogger("orbax").info("chatter")
    logging.getLogger("jax").warning("matters")
    return 1

command.run(main)
"""


_FAILS = """
import sys
from absl import flags
from xray_jax.scripts import command

PLACE = flags.DEFINE_string("place", None, "Where.")
FLAG = flags.DEFINE_string("out", None, "Where else.")

def main():
    exec(FLAG.value)

command.run(main)
"""


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        (r"raise ValueError('a\x1b[2J\nb\u202e')", 4, ": a?[2J\nb?\n"),
        (r"raise OSError('a\x1b[2J')", 2, ": a?[2J\n"),
        (r"raise RuntimeError(chr(27))", 2, "\nRuntimeError: ?\n"),
        (
            "open(PLACE.value + '/rows')", 2,
            ": --place=/nonesuch: No such file or directory (/nonesuch/rows); give a path that may be used, in a "
            "folder that is there\n",
        ),
        ("open('/')", 2, ": /: Is a directory; give a path that may be used, in a folder that is there\n"),
    ],
)  # fmt: skip
def test_messages_are_printable_and_name_the_flag(what, code, said):
    arguments = ["--place=/nonesuch", f"--out={what}"]
    done = subprocess.run([sys.executable, "-c", _FAILS, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


@pytest.mark.parametrize(("arguments", "chatter"), [([], False), (["--verbosity=0"], True)])
def test_other_libraries_chatter_is_off_unless_asked_for(arguments, chatter):
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert "matters" in done.stderr
    assert ("chatter" in done.stderr) == chatter
    if not chatter:
        assert len(done.stderr.splitlines()) == 1, done.stderr
