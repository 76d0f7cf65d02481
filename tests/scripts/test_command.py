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


@pytest.mark.parametrize(("arguments", "chatter"), [([], False), (["--verbosity=0"], True)])
def test_other_libraries_chatter_is_off_unless_asked_for(arguments, chatter):
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert "matters" in done.stderr
    assert ("chatter" in done.stderr) == chatter
    if not chatter:
        assert len(done.stderr.splitlines()) == 1, done.stderr
