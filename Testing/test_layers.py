"""The order of layers in ``.importlinter`` is the order of the imports, and the contract notices a breach."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from CSRDDenoiseLib.extras import EXTRAS

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


def test_every_optional_package_is_asked_of_the_extra_that_brings_it():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = dict(re.findall(r"^(\w+) = (\[.*?\])$", project.partition("optional-dependencies]")[2], re.M | re.S))
    usual = re.search(r"^dependencies = \[.*?\]$", project, re.M | re.S).group()
    needed = {name for path in (ROOT / "CSRDDenoiseLib").rglob("*.py") for name in imported(path)}
    names = {"yaml": "pyyaml"}
    plain = {name for name in needed if re.search(rf'"{names.get(name, name)}\b', usual, re.I)}
    # asked for where it is; brought by distributed, by torch
    others = {"CSRDDenoiseLib", "psutil", "dask", "tornado", "filelock"}
    assert needed - plain - set(sys.stdlib_module_names) - others <= set(EXTRAS)
    for module, (package, extra) in EXTRAS.items():
        assert f'"{package}>' in extras[extra], module


def imported(path: Path) -> set[str]:
    """The packages that a file imports, anywhere in it."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = [
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for node in tree
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
    ]
    return {name.partition(".")[0] for names in found for name in names}
