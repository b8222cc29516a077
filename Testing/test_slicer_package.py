"""What is packaged for Slicer: every file and no other, descriptions that agree, and a module that loads at once."""

from __future__ import annotations

import ast
import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from test_repository import tracked_files

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "CSRDDenoise"
LIBRARY = ROOT / "CSRDDenoiseLib"
# what only simulation, training and evaluation need
# type checkers alone look at py.typed
LEFT_OUT = ("research/*", "readers/*", "subjects/*", "cluster/cohort/*", "py.typed")
# of the reader studies, what reading in Slicer needs
READING = tuple(f"readers/{name}.py" for name in ("__init__", "answers", "session", "study"))
LEFT_OUT_COMMANDS = tuple(
    f"commands/{name}.py"
    for name in (
        *("simulate", "train", "evaluate", "calibrate", "benchmark", "demo", "readers"),
        *("tables", "pairs", "validate", "adapt", "experiment", "simulate_like", "cohort"),
    )
)
LIGHT = {"slicer", "vtk", "qt", "ctk", "numpy", "SimpleITK", "CSRDDenoiseLib", "CSRDDenoiseModule"}
S4EXT_KEYS = (
    "scm scmurl scmrevision depends recommends build_subdirectory homepage contributors category iconurl status tier "
    "description screenshoturls enabled dicom_support_rule keywords"
)


def listed(folder: Path, variable: str) -> set[str]:
    """The files that a CMake list names, its name replaced and its globs expanded."""
    text = re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    text = text.replace("${MODULE_NAME}", folder.name)
    words = re.search(rf"set\({variable}\s+(.*?)\)", text, re.DOTALL).group(1).split()
    globs = re.search(r"CONFIGURE_DEPENDS\s+(.*?)\)", text, re.DOTALL)
    found = set(words) - {"${MODULE_DATA}"}
    if "${MODULE_DATA}" in words:
        patterns = [Path(pattern).parent for pattern in globs.group(1).split()]
        found |= {name for pattern in patterns for name in files(folder / pattern, folder)}
    return found


def files(folder: Path, base: Path) -> set[str]:
    """Files below a folder, without what running leaves there."""
    names = {path.relative_to(base).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if "__pycache__" not in name and not name.endswith("CMakeLists.txt")}


def test_every_file_of_the_module_is_packaged_and_no_other():
    scripts = listed(MODULE, "MODULE_PYTHON_SCRIPTS")
    resources = listed(MODULE, "MODULE_PYTHON_RESOURCES")
    assert scripts | resources == files(MODULE, MODULE)
    assert all(name.endswith(".py") for name in scripts)


def packaged(variable: str) -> set[str]:
    """The files of the library that its CMake list takes: what its globs find, less what its filters leave out."""
    text = (LIBRARY / "CMakeLists.txt").read_text(encoding="utf-8")
    globs = re.search(rf"GLOB_RECURSE {variable}.*?CONFIGURE_DEPENDS(.*?)\)", text, re.DOTALL).group(1).split()
    excluded = re.findall(rf'FILTER {variable} EXCLUDE REGEX "(.*?)"', text)
    appended = re.findall(rf"APPEND {variable}\s+(.*?)\)", text, re.DOTALL)
    found = {name for name in files(LIBRARY, LIBRARY) if any(fnmatch.fnmatch(name, pattern) for pattern in globs)}
    kept = {name for name in found if not any(re.search(pattern, name) for pattern in excluded)}
    return kept | {name for names in appended for name in names.split()}


def test_every_file_of_the_library_is_packaged_but_what_only_training_needs():
    present = files(LIBRARY, LIBRARY)
    left_out = {name for name in present if any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT)}
    left_out -= set(READING)
    scripts = {name for name in present if name.endswith(".py")}
    assert packaged("MODULE_PYTHON_SCRIPTS") == scripts - left_out - set(LEFT_OUT_COMMANDS)
    assert packaged("MODULE_PYTHON_RESOURCES") == present - scripts - left_out


def test_packaged_library_does_not_need_what_is_left_out():
    kept = packaged("MODULE_PYTHON_SCRIPTS")
    left_out = {name for name in files(LIBRARY, LIBRARY) if name.endswith(".py")} - kept
    for name in kept:
        for node in ast.walk(ast.parse((LIBRARY / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                needed = _modules_of(Path(name).parents[node.level - 1], node)
                assert not needed & left_out, f"{name} imports {needed & left_out}"


def _modules_of(base: Path, node: ast.ImportFrom) -> set[str]:
    """Files that ``from .a.b import c`` may need: a/b.py, a/b/__init__.py, a/b/c.py and a/b/c/__init__.py."""
    place = base.joinpath(*(node.module or "").split(".")) if node.module else base
    modules = [place, *(place / alias.name for alias in node.names)]
    return {f"{each.as_posix()}{ending}" for each in modules for ending in (".py", "/__init__.py")}


def test_module_has_eleven_files_or_fewer_beside_its_views_and_none_is_long():
    folder = MODULE / "CSRDDenoiseModule"
    files, views = (list(place.glob("*.py")) for place in (folder, folder / "views"))
    assert len(files) - 1 <= 11 and len(views) - 1 <= 8  # __init__.py holds no code
    for path in [*files, *views, MODULE / "CSRDDenoise.py"]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name


def cmake_settings() -> dict[str, str]:
    return dict(re.findall(r'set\(EXTENSION_(\w+) "(.*?)"\)', (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")))


def s4ext() -> dict[str, str]:
    lines = (ROOT / "CSRDDenoise.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return {key: value for key, _, value in pairs}


def test_descriptions_agree():
    settings, described = cmake_settings(), s4ext()
    entry = json.loads((ROOT / "CSRDDenoise.json").read_text(encoding="utf-8"))
    assert set(described) == set(S4EXT_KEYS.split())
    for key in (
        "HOMEPAGE",
        "CATEGORY",
        "CONTRIBUTORS",
        "DESCRIPTION",
        "ICONURL",
        "SCREENSHOTURLS",
        "DEPENDS",
        "STATUS",
    ):
        assert settings[key] == described[key.lower()], key
    assert entry["category"] == settings["CATEGORY"] == "Nuclear Medicine"
    assert entry["build_dependencies"] == settings["DEPENDS"].split() == ["PyTorch"]
    assert (entry["scm_url"], entry["scm_revision"]) == (described["scmurl"], described["scmrevision"])
    assert entry["tier"] == int(described["tier"])
    assert "schema-v1.0.1.json" in entry["$schema"]
    known = {"$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier"}
    assert set(entry) <= known | {"scm_type", "enabled"}
    assert b"\r" not in (ROOT / "CSRDDenoise.json").read_bytes()


def test_a_clone_without_history_is_as_small_as_the_extensions_index_asks():
    """Its check adds up all files of a clone, those of .git too, and takes 100 MB at most."""
    # git keeps each once more, and the large ones, models and images, cannot be compressed
    assert 2 * sum(path.stat().st_size for path in tracked_files()) < 100 * 2**20


def test_addresses_of_pictures_are_files_of_the_repository():
    for key in ("ICONURL", "SCREENSHOTURLS"):
        path = cmake_settings()[key].split("/main/")[1]
        assert (ROOT / path).is_file(), path


def test_icon():
    with Image.open(MODULE / "Resources/Icons/CSRDDenoise.png") as icon:
        assert icon.size == (128, 128)
        assert icon.mode == "RGBA"


def test_requirements_are_those_of_the_library():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed_there = project.split("\ndependencies = [")[1].split("\n]")[0]
    wanted = dict(re.findall(r'^    "([\w-]+)>=([\d.]+)",$', listed_there, re.MULTILINE))
    text = (MODULE / "Resources/requirements.txt").read_text(encoding="utf-8")
    packages = (MODULE / "CSRDDenoiseModule/readiness.py").read_text(encoding="utf-8")
    ours = dict(re.findall(r"^([\w-]+)>=([\d.]+)$", text, re.MULTILINE))
    bundled = {"numpy", "SimpleITK"}
    torch = re.search(r'TORCH_MINIMUM = "(.*?)"', packages).group(1)
    assert {**ours, "torch": torch} == {name: version for name, version in wanted.items() if name not in bundled}
    assert not any(name.startswith("torch") for name in ours)


def file_scope_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 does not know the names of its standard library")
@pytest.mark.parametrize("path", sorted(MODULE.rglob("*.py")), ids=lambda path: path.name)
def test_module_imports_nothing_heavy_at_file_scope(path):
    assert file_scope_imports(path) <= LIGHT | set(sys.stdlib_module_names)


@pytest.mark.slow
def test_module_file_loads_within_a_second_and_without_heavy_libraries():
    """Measured as processor time in a process of its own, after what Slicer has loaded anyway."""
    code = (
        "import sys, time; sys.path.insert(0, 'Testing'); import slicer_standin; slicer_standin.install()\n"
        "from pathlib import Path; began = time.process_time()\n"
        "slicer_standin.load_module(Path('CSRDDenoise/CSRDDenoise.py')); spent = time.process_time() - began\n"
        "heavy = {'torch', 'monai', 'scipy', 'SimpleITK', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "assert spent < 1 and not heavy, (spent, heavy)"
    )
    pytest.importorskip("slicer_core")
    pytest.importorskip("PySide6")
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("path", sorted([*MODULE.rglob("*.py"), *LIBRARY.rglob("*.py")]), ids=lambda path: path.name)
def test_files_parse_as_python_3_9(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def panel_widgets() -> list[ElementTree.Element]:
    return list(ElementTree.parse(MODULE / "Resources/UI/CSRDDenoise.ui").iter("widget"))


def test_every_control_has_a_tooltip():
    containers = {"qMRMLWidget", "ctkCollapsibleButton"}
    for widget in panel_widgets():
        properties = [part.get("name") for part in widget.findall("property")]
        assert widget.get("class") in containers or "toolTip" in properties, widget.get("name")


def test_texts_can_be_translated():
    for path in MODULE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}: a text for translation must be a literal"


def test_checklist_names_places_that_exist():
    text = (ROOT / "docs/extension-checklist.md").read_text(encoding="utf-8")
    places = re.findall(r"`(?!slicer\.)([\w./-]+\.\w+|[\w-]+/[\w./-]*)`", text)
    assert places
    for place in places:
        assert (ROOT / place).exists(), place
    tests = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    assert len(tests) > 40
    for file, name in tests:
        assert re.search(rf"^def {name}\(", (ROOT / "Testing" / file).read_text(encoding="utf-8"), re.M), (file, name)
