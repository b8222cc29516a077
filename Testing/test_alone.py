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
    assert not lock.exists()


def test_a_lock_beside_is_looked_at_with_the_own_one_held_and_is_not_taken(tmp_path):
    own, other = tmp_path / ".own", tmp_path / ".other"
    beside = alone(own, "Another", tmp_path, lambda: (other,))
    with alone(other, "Another", tmp_path), pytest.raises(InputError), beside:
        pytest.fail("it began")
    with alone(own, "Another", tmp_path, lambda: (other,)), alone(other, "Another", tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_is_free_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), alone(tmp_path / "new" / "newer" / ".lock", "Another", tmp_path):
            raise KeyError
        assert not list(tmp_path.iterdir()), "neither the lock nor the folders that were made for it"
