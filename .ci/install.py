"""Make the virtual environment that the Makefile works in: ``python .ci/install.py .venv``.

Standard library only. The one thing that needs thought is torch: on Linux the build of the public package index brings
gigabytes of CUDA libraries, which a machine without an NVIDIA GPU has no use for. So there, the CPU build is taken:
from pip's configured index if that has it, else from PyTorch's own CPU index, which is asked for torch alone, with a
short timeout, so that being unable to reach it costs seconds. CUDA libraries are never installed as a way out.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = "train,evaluate,dicom,readers,cluster,test"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH_MISSING = (
    f"No CPU build of torch was found: pip's configured index offers only the CUDA build, and {TORCH_CPU_INDEX} could "
    "not be used (see above). Install torch into the environment yourself ({python} -m pip install ...) and run make "
    "again."
)


def main(folder: str) -> None:
    """Create ``folder`` if need be and install this project, editable, with every extra, at the pinned versions."""
    print(f"Setting up {folder} (some minutes, once)", flush=True)
    python = _interpreter(Path(folder))
    _pip(python, "install", "pip>=23")  # older ones have no --report
    if not _has_torch(python):
        _install_torch(python)
    _pip(python, "install", "--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}[{EXTRAS}]")


def _interpreter(folder: Path) -> str:
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    return str(python)


def _has_torch(python: str) -> bool:
    return subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 0


def _install_torch(python: str) -> None:
    torch = ["install", "--constraint", str(CONSTRAINTS), "torch"]
    if not _is_linux_without_gpu() or not _brings_cuda(python, torch):
        _pip(python, *torch)
        return
    from_cpu_index = ["--index-url", TORCH_CPU_INDEX, "--no-deps", "--timeout", "15", "--retries", "1"]
    if subprocess.run([python, "-m", "pip", "-qq", *torch, *from_cpu_index]).returncode != 0:
        raise SystemExit(TORCH_MISSING.format(python=python))


def _is_linux_without_gpu() -> bool:
    has_gpu = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
    return platform.system() == "Linux" and not has_gpu


def _brings_cuda(python: str, command: list[str]) -> bool:
    """Ask pip what it would install, without installing it; an index that has no torch counts as "not from here"."""
    dry_run = [python, "-m", "pip", "-qq", *command, "--dry-run", "--report", "-"]
    answer = subprocess.run(dry_run, stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        return True
    names = [item["metadata"]["name"].lower() for item in json.loads(answer.stdout)["install"]]
    return any(name.startswith(("nvidia", "cuda")) for name in names)


def _pip(python: str, *arguments: str) -> None:
    status = subprocess.run([python, "-m", "pip", "-qq", *arguments]).returncode
    if status != 0:
        raise SystemExit(f"pip {' '.join(arguments)} failed with exit code {status} (see above).")


if __name__ == "__main__":
    main(sys.argv[1])
