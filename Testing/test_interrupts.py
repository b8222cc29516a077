"""An interrupt where Python or a library would lose it is delivered again."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import weakref

import pytest

from CSRDDenoiseLib.commands.interrupts import handle_interrupts

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
