"""Numbers and examples of the pages are those of the code and of the measurements."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import CSRDDenoiseLib
from CSRDDenoiseLib.checks import limits
from CSRDDenoiseLib.checks.head_size import LARGEST_HEAD_ML, SMALLEST_HEAD_ML
from CSRDDenoiseLib.checks.overlap import MIN_BRAIN_COVERED, MIN_HEAD_COVERED
from CSRDDenoiseLib.checks.unit import BQ_PER_ML_RANGE, SUV_RANGE
from CSRDDenoiseLib.checks.voxels import LARGEST_ANISOTROPY
from CSRDDenoiseLib.research.evidence.words import ABOUT, INTRODUCTION
from CSRDDenoiseLib.research.training.config import TrainingConfig, load_config
from CSRDDenoiseLib.thresholds import LONGEST_HEAD_MM

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def goals() -> dict[str, tuple[str, str]]:
    """Measure -> what was measured, and whether its goal is reached; the first table of the evidence."""
    table = page("docs/evidence.md").partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
    return {measure: (measured, reached) for measure, _aim, measured, reached in rows}


def test_readme_and_card_count_the_goals_that_are_reached():
    reached = [each for _measured, each in goals().values()]
    card = "CSRDDenoise/Resources/Models/brain/MODEL_CARD.md"
    for name, words, met in (("README.md", "are reached", "reached"), (card, "are not reached", "**not reached**")):
        said = re.search(rf"(\w+) of (\w+) goals {words}", page(name))
        assert said is not None
        assert NUMBERS.index(said[1].lower()) == reached.count(met)
        assert NUMBERS.index(said[2]) == len(reached)


def test_readme_gives_the_ratios_of_the_evidence():
    measured = {measure: text for measure, (text, _reached) in goals().items()}
    at = [measured[f"error in calm brain over the best filter's, at {share} of the contrast"] for share in (0.8, 0.9)]
    kept = next(text for measure, text in measured.items() if measure.startswith("contrast of hot lesions"))
    rows = re.findall(r"^\| (1/\d+) \| ([\d.]+), ([\d.]+) \| ([\d.]+) \|", page("README.md"), re.MULTILINE)
    assert [row[0] for row in rows] == ["1/4", "1/10", "1/20"]
    for dose, *values in rows:
        assert values == [re.search(rf"([\d.]+) \({dose}\)", text)[1] for text in (*at, kept)]


def test_training_page_shows_the_defaults(tmp_path):
    shown = re.search(r"```yaml\n(.*?)```", page("docs/training.md"), re.DOTALL)[1]
    file = tmp_path / "config.yaml"
    file.write_text(shown, encoding="utf-8")
    config, usual = load_config(file), {field.name: field.default for field in fields(TrainingConfig)}
    named = set(re.findall(r"^(\w+):", shown, re.MULTILINE)) - {"name", "output", "anatomy"}
    assert {"patch", "batch", "steps"} <= named
    assert {name: getattr(config, name) for name in named} == {name: usual[name] for name in named}


def test_quality_page_gives_the_limits_of_the_checks():
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page("docs/quality.md"), re.MULTILINE)
    shown = {name: f"{measure} | {limit}" for name, measure, limit in rows}
    suv, activity = SUV_RANGE, BQ_PER_ML_RANGE
    for name, text in {
        "filtered already": f"more than {limits.FILTERED_MM:g} mm",
        "no attenuation correction": f"more than {limits.UNCORRECTED_SCORE:g}",
        "brain cut off": f"more than {limits.CUT_AREA_CM2:g} cm²",
        "MR not T1": f"less than {limits.T1_DEPTH_CONTRAST:+.0%}".replace("%", " %"),
        "MR after contrast agent": f"more than {limits.ENHANCED_TAIL:g}",
        "anisotropic voxels": f"more than {LARGEST_ANISOTROPY:g}",
        "unit": f"SUV ({suv[0]:g} to {suv[1]:g}) or Bq/mL ({activity[0]:g} to {activity[1]:,.0f})",
        "small head": f"less than {SMALLEST_HEAD_ML:g} mL",
        "large head": f"more than {LARGEST_HEAD_ML:,.0f} mL",
        "long body": f"more than {LONGEST_HEAD_MM:g} mm",
        "MR that covers little": f"less than {MIN_HEAD_COVERED:.0%}".replace("%", " %"),
        "MR that does not cover the brain": f"less than {MIN_BRAIN_COVERED:.0%}".replace("%", " %"),
    }.items():
        assert text in shown[name], name


def check_examples(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"CSRDDenoiseLib.{module}"))
    assert found.attempted > 0 and found.failed == 0


@pytest.mark.parametrize("module", ["progress", "run.request", "settings"])
def test_examples_of_docstrings_run(module):
    check_examples(module)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["denoise", "io.read", "model.bundle"])
def test_examples_of_docstrings_that_read_and_denoise_run(module):
    check_examples(module)


@pytest.mark.parametrize("name", CSRDDenoiseLib.__all__)
def test_public_names_describe_what_goes_in_and_out(name):
    thing = getattr(CSRDDenoiseLib, name)
    text = inspect.getdoc(thing) or ""
    named = {each for line in re.findall(r"^ +([\w, ]+): ", text, re.MULTILINE) for each in line.split(", ")}
    if inspect.isfunction(thing):
        signature = inspect.signature(thing)
        assert set(signature.parameters) <= named
        assert signature.return_annotation == "None" or re.search(r"^Returns?\b", text, re.MULTILINE)
    elif is_dataclass(thing):
        assert {field.name for field in fields(thing)} <= named


def test_evidence_has_the_words_of_its_generator():
    written = page("docs/evidence.md")
    for text in (INTRODUCTION, *(text for _title, text in ABOUT.values())):
        assert re.search(re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)), written), text[:60]
