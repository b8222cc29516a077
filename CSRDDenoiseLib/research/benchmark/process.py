"""Measurements in processes of their own, and the peak of resident memory of one."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping, Optional, Union

logger = logging.getLogger(__name__)


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a case (see :mod:`.case`) in a process of its own; return its answer, or why there is none as ``skipped``."""
    command = [sys.executable, "-m", f"{__package__}.case", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        reason = f"the system ended it (signal {-done.returncode}), as it does when memory runs out"
        answer: dict[str, Any] = {"skipped": reason}
    elif done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        answer = {"skipped": f"it failed: {reason}", "failed": True}
    else:
        answer = json.loads(done.stdout.splitlines()[-1])
    logger.info("%s: %s", request["kind"], answer.get("skipped", "done"))
    return answer


def forget_peak() -> None:
    """Make the system count the peak of resident memory from here on; only Linux does."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_since(process: Union[int, str] = "self") -> Optional[int]:
    """Return a process's peak of resident memory in bytes since :func:`forget_peak`; None where it is not reported."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), None)
