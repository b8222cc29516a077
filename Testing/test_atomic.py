"""Files that are complete or as they were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

from CSRDDenoiseLib.atomic import complete_file, process_mark, read_json, write_json


def test_a_file_is_complete_or_as_it_was(tmp_path: Path):
    path = tmp_path / "new" / "values.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(KeyboardInterrupt), complete_file(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"a": 1} and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"\xff\xfe\x00", b"", b"{"], ids=["deep", "binary", "empty", "cut"]
)
def test_what_is_no_json_is_a_value_error(tmp_path: Path, content: bytes):
    (tmp_path / "values.json").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "values.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX")
def test_json_is_neither_waited_for_nor_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(tmp_path / "values.json")
    with pytest.raises(ValueError, match="not a file"):
        read_json(tmp_path / "values.json")
    write_json(tmp_path / "long.json", list(range(100)))
    monkeypatch.setattr("CSRDDenoiseLib.atomic.LARGEST_JSON", 50)
    with pytest.raises(ValueError, match="larger"):
        read_json(tmp_path / "long.json")


KILLED = """
import os, signal, sys
from pathlib import Path
from CSRDDenoiseLib.atomic import complete_file
with complete_file(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path):
    own, _, machine = process_mark().partition("-")
    path, running = tmp_path / "a[1].json", tmp_path / f".a[1].json.{os.getppid()}-{machine}.partial"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 1
    # of a process that runs, of this one's number, and of other files
    other = tmp_path / f".b.json.999999-{machine}.partial"
    for each in (running, other, tmp_path / f".a[1].json.{own}-{machine}.partial"):
        each.write_text("")
    write_json(path, {"a": 2})
    assert sorted(tmp_path.iterdir()) == sorted([path, running, other])


def test_what_another_machine_writes_is_left_alone_for_a_day(tmp_path: Path):
    number = process_mark().partition("-")[0]
    fresh, old = (tmp_path / f".a.json.{number}-{machine}.partial" for machine in ("aaaaaaaa", "bbbbbbbb"))
    for each in (fresh, old):
        each.write_text("")
    os.utime(old, (0, old.stat().st_mtime - 25 * 3600))
    write_json(tmp_path / "a.json", {})
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([fresh.name, "a.json"])
