"""The order of layers in ``.importlinter`` is the order of the imports, and the contract notices a breach."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "importlinter.contracts.acyclic_siblings", reason="import-linter of Python 3.9 has no such contract"
)

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def lint(folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=folder, env=environment, capture_output=True, encoding="utf-8"
    )


def test_imports_keep_the_order_of_layers():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("io/grid.py", "from ..checks import inputs"),  # an arrow up
        ("checks/inputs.py", "import qt"),  # the host in the library
        ("settings.py", "import torch"),  # a heavy library in a light module
        ("denoise.py", "from .research import training"),  # research in the pipeline
    ],
)
def test_a_breach_is_detected(module, line, tmp_path):
    package = tmp_path / "CSRDDenoiseLib"
    shutil.copytree(ROOT / "CSRDDenoiseLib", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    with (package / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode == 1 and "BROKEN" in result.stdout, result.stdout + result.stderr


def drawn() -> list[str]:
    """The modules of the library in the order of the picture, top first."""
    picture = re.search(r"^    CSRDDenoiseLib/.*?(?=^    Testing)", ARCHITECTURE, re.M | re.S).group()
    return [name.replace(".py", "").rstrip("/") for name in re.findall(r"^      ([\w.]+/?) ", picture, re.M)]


def test_the_picture_is_the_folder():
    present = {path.stem for path in (ROOT / "CSRDDenoiseLib").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert sorted(drawn()) == sorted(present - {"__init__", "__main__", "__pycache__"})


def test_the_picture_is_the_contract():
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter", encoding="utf-8")
    layers = contract["importlinter:contract:layers"]["layers"].split("\n")
    place = {name: row for row, layer in enumerate(layers) for name in re.findall(r"\w+", layer)}
    rows = [place[name] for name in drawn()]
    assert rows == sorted(rows)
