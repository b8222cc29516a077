"""One process at a time: another is refused, and a process that was killed holds nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from CSRDDenoiseLib.alone import alone
from CSRDDenoiseLib.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from CSRDDenoiseLib.alone import alone
lock = Path(sys.argv[1])
with alone(lock, "This", lock.parent):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_until_the_first_ends_however_it_ends(tmp_path):
    lock = tmp_path / "new" / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError), alone(lock, "Another", lock.parent):
            pass
        other.kill()
    with alone(lock, "Another", lock.parent), pytest.raises(InputError), alone(lock, "Another", lock.parent):
        pass


def test_a_lock_is_free_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), alone(tmp_path / ".lock", "Another", tmp_path):
            raise KeyError
