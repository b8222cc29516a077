"""An interrupt where Python or a library would lose it is delivered again."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import weakref
from pathlib import Path

import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.commands.interrupts import handle_interrupts
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.io import write

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="descriptors and signals are POSIX")
SWALLOWS = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(20):
        time.sleep(0.01)
except BaseException:
    pass
"""


@POSIX
def test_an_interrupt_while_a_library_is_loaded_is_heeded_afterwards(tmp_path, monkeypatch):
    (tmp_path / "module_that_swallows.py").write_text(SWALLOWS)
    monkeypatch.syspath_prepend(str(tmp_path))
    # a background job of a shell ignores the signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with handle_interrupts(), pytest.raises(KeyboardInterrupt):
            importlib.import_module("module_that_swallows")
            assert "module_that_swallows" in sys.modules
            for _ in range(500):
                time.sleep(0.01)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@POSIX
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_signals_that_a_shell_or_nohup_ignores_stay_ignored(name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with handle_interrupts():
            os.kill(os.getpid(), number)
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def _interrupt_slowly() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(20):
        time.sleep(0.01)


class _Finalized:
    """An object that is interrupted while it goes."""

    def __del__(self) -> None:
        _interrupt_slowly()


class _Referenced:
    """An object whose end others wait for."""

    def __init__(self) -> None:
        weakref.finalize(self, _interrupt_slowly)


@POSIX
@pytest.mark.parametrize("kind", [_Finalized, _Referenced])
def test_an_interrupt_in_a_finalizer_is_heeded_afterwards(kind):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = []
    try:
        with handle_interrupts(), pytest.raises(KeyboardInterrupt):
            kind()
            ended.append(True)
            for _ in range(500):
                time.sleep(0.01)
        assert ended
    finally:
        signal.signal(signal.SIGINT, before)


@POSIX
@pytest.mark.parametrize("where", ["replace", "remove"])
def test_an_interrupt_while_outputs_are_put_in_place_comes_after_all_of_them(tmp_path, monkeypatch, where):
    paths = [tmp_path / name for name in ("a.nii", "b.nii", "c.json")]
    for path in paths:
        path.write_text("former", encoding="utf-8")
    name = {"replace": "os.replace", "remove": "CSRDDenoiseLib.io.write.remove"}[where]
    function = {"replace": os.replace, "remove": write.remove}[where]
    sent: list[int] = []

    def interrupted(*names: Path) -> None:
        if not sent:
            sent.append(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        function(*names)

    monkeypatch.setattr(name, interrupted)
    with handle_interrupts(), pytest.raises(KeyboardInterrupt):
        with write.all_or_nothing(paths) as temporary:
            for path in paths:
                temporary[path].write_text("new", encoding="utf-8")
        for _ in range(500):
            time.sleep(0.01)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        path.name: "new" for path in paths
    }


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True])
def test_an_interrupt_after_the_outputs_does_not_say_that_there_are_none(
    tmp_path, pet, model_folder, monkeypatch, capsys, late
):
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    where = "print_result" if late else "progress_callback"
    monkeypatch.setattr(f"CSRDDenoiseLib.commands.denoise.{where}", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    words = ["denoise", "--pet", str(tmp_path / "pet.nii.gz"), "--output", str(tmp_path / "out.nii.gz")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main([*words, "--model", str(model_folder), "--preset", "fast", "--device", "cpu"]) == 3
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "out.nii.gz").exists() == late == ("out.nii.gz" in capsys.readouterr().err)


@POSIX
def test_an_interrupt_that_a_library_makes_another_error_of_is_no_internal_error(monkeypatch, capsys):
    def run(_args: object) -> int:
        # as the compiled code of matplotlib does where it reads a matrix
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except KeyboardInterrupt:
            raise ValueError("Invalid affine transformation matrix") from None
        return 0

    monkeypatch.setattr("CSRDDenoiseLib.commands.info.run", run)
    assert main(["info"]) == 3 and "Internal" not in capsys.readouterr().err
