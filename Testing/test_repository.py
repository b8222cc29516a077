"""The repository is consistent: versions agree, documented commands and links exist, names are documented."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import CSRDDenoiseLib
from CSRDDenoiseLib.commands.main import COMMANDS, _parser
from CSRDDenoiseLib.settings import PRESETS

ROOT = Path(__file__).resolve().parent.parent
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".cff", ".json", ".yaml", ".yml", ".ui", ".cmake", ".s4ext", ""}
LARGEST_WEIGHTS = 32 * 1024**2


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version_everywhere():
    version = CSRDDenoiseLib.__version__
    assert metadata.version("csrd-denoise") == version
    assert f"\nversion: {version}\n" in read("CITATION.cff")
    assert re.search(r"## \[(\d+\.\d+\.\d+)\]", read("CHANGELOG.md")).group(1) == version


def test_readme_begins_with_what_to_type_and_its_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z]+)", read("README.md"), re.MULTILINE)
    assert {"demo", "test"} <= set(named) <= targets
    assert all(f"make {name}" in "\n".join(read("README.md").splitlines()[:24]) for name in ("demo", "test"))


def test_readme_lists_every_command_and_no_other():
    table = re.search(r"\| command \| does \|\n(.*?)\n\n", read("README.md"), re.DOTALL).group(1)
    assert set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)) == set(COMMANDS)


def test_readme_and_guide_list_the_presets_as_they_are():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d+) \| (\d+) \| (yes|no) \|", read("README.md"), re.MULTILINE)
    of_panel = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (yes|no) \|", read("docs/slicer.md"), re.MULTILINE)
    for each in (rows, of_panel):
        listed = {name.lower(): (int(steps), int(samples), drawn == "yes") for name, steps, samples, drawn in each}
        assert listed == {name: (s.steps, s.samples, s.has_uncertainty) for name, s in PRESETS.items()}


def test_the_card_gives_the_calibration_that_the_model_has():
    model = "CSRDDenoise/Resources/Models/brain"
    recipes = {each["samples"]: each["calibration"] for each in json.loads(read(f"{model}/metadata.json"))["recipes"]}
    card = " ".join(read(f"{model}/MODEL_CARD.md").split())
    number = r"([\d.]+)"
    errors = re.search(f"error from {number} to {number} % [(]`quality`: {number} to {number} %[)]", card).groups()
    coverage = re.search(f"with {number} % [(]{number} %[)] of the errors within one standard deviation", card).groups()
    scores = [recipes[PRESETS[name].samples] for name in ("balanced", "quality")]
    measured = [100 * each[when]["calibration_error"] for each in scores for when in ("before", "after")]
    inside = [100 * each["after"]["coverage"] for each in scores]
    for text, value in zip((*errors, *coverage), (*measured, *inside)):
        digits = len(text.partition(".")[2])
        assert float(text) == round(value, digits)


PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "CSRDDenoise/Resources/Models/*", "CSRDDenoise/Resources/SampleData")
    for path in ROOT.glob(f"{folder}/*.md")
)


def anchors(page: Path) -> set[str]:
    """The names that mkdocs gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)]*)\)", read(page)):
        if "://" not in link:
            there = (ROOT / page).parent.joinpath(link) if link else ROOT / page
            assert there.exists(), f"{page} links to {link}"
            if anchor and there.suffix == ".md":
                assert anchor in anchors(there), f"{page} links to {link}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_tests_that_pages_name_exist(page):
    for file, name in re.findall(r"`(?:Testing/)?(test_\w+\.py)::(test_\w+)", read(page)):
        assert re.search(rf"^def {name}\(", read(f"Testing/{file}"), re.MULTILINE), f"{page} names {file}::{name}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_pages_are_accepted(page):
    """Those that stand in a block of their own, with every option; none is run."""
    blocks = re.findall(r"^```.*?^```|^    .*?$", read(page).replace("\\\n", " "), re.MULTILINE | re.DOTALL)
    for line in re.findall(r"^ *(csrd-denoise .*)$", "\n".join(blocks), re.MULTILINE):
        words = shlex.split(line, comments=True)[1:]
        try:
            _parser(words).parse_args(words)
        except SystemExit:
            pytest.fail(f"{page}: {line}")


def test_scripts_that_pages_name_can_be_started():
    """Up to the work: everything that they import is there. No linter looks at names that are imported from modules."""
    scripts = {name for page in PAGES for name in re.findall(r"python ((?:Testing|\.ci)/\w+\.py)", read(page))}
    assert {"Testing/kinetic_example.py", ".ci/slicer_pictures.py"} <= scripts
    for script in sorted(scripts):
        code = f"import runpy; runpy.run_path({str(ROOT / script)!r}, run_name='imported')"
        paths = os.pathsep.join((str(ROOT), str(ROOT / "Testing")))
        environment = {**os.environ, "PYTHONPATH": paths}
        started = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert started.returncode == 0, f"{script}: {started.stderr}"


def test_no_file_names_a_place_on_one_machine():
    place = re.compile(r"(?<![\w.])/(home|root|work|Users|mnt)/\w")
    for path in tracked_files():
        if path.suffix in TEXT_SUFFIXES and path != Path(__file__):
            found = place.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{path.relative_to(ROOT)} mentions {found.group()}..."


def test_style_types_and_docstrings():
    """Ruff checks that public names of the library have docstrings and types (rules D1, ANN in pyproject.toml)."""
    result = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_no_parents_of_a_path_are_sliced():
    """Python 3.9, that of Slicer 5.6 and 5.8, cannot; linters do not know it."""
    pattern = re.compile(r"(?<!list\()\b[\w.]+\.parents\[[^\]]*:")
    sources = [each for each in tracked_files() if each.suffix == ".py"]
    assert len(sources) > 300
    assert [each for each in sources if pattern.search(each.read_text(encoding="utf-8"))] == []


def test_weights_stay_small():
    sizes = [path.stat().st_size for path in tracked_files() if path.suffix == ".safetensors"]
    assert sum(sizes) <= LARGEST_WEIGHTS


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, CSRDDenoiseLib.settings; print(sorted({'torch', 'monai', 'SimpleITK'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def _skip_without_network(code: int, said: str) -> None:
    """Skip where the build backend cannot be fetched; fail where it cannot build."""
    if code and re.search("No matching distribution|Could not find a version|ConnectionError|Temporary failure", said):
        pytest.skip("the build backend cannot be fetched here")
    assert code == 0, said


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "-qq", "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PIP_RETRIES": "1"})
    _skip_without_network(built.returncode, built.stderr)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return archive.namelist()


@pytest.mark.slow
def test_source_archive_holds_what_its_makefile_needs(tmp_path):
    pytest.importorskip("build", reason="the package 'build' is not installed")
    command = [sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PIP_RETRIES": "1"})
    _skip_without_network(built.returncode, built.stdout)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = set(re.findall(r"(?:\.ci|configs)/[\w.-]+|constraints\.txt|pyproject\.toml", read("Makefile")))
    assert ".ci/install.py" in needed and needed <= names


@pytest.mark.slow
def test_wheel_holds_every_module_and_every_resource(wheel):
    tracked = [path.relative_to(ROOT).as_posix() for path in tracked_files()]
    modules = {name for name in tracked if name.startswith("CSRDDenoiseLib/") and not name.endswith("CMakeLists.txt")}
    resources = {
        name.replace("CSRDDenoise/Resources/", "CSRDDenoiseLib/resources/")
        for name in tracked
        if name.startswith(("CSRDDenoise/Resources/Models/", "CSRDDenoise/Resources/SampleData/"))
    }
    assert modules | resources | {"CSRDDenoiseLib/py.typed"} <= set(wheel)
    assert not [
        name
        for name in wheel
        if name.startswith(("Testing", "docs", "CSRDDenoise/")) or name.endswith("CMakeLists.txt")
    ]
