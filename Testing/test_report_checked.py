"""Checks and settings in the quality report: each has its words, and every value is written with its unit."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import fields
from typing import Iterator

import pytest
from test_repository import ROOT

from CSRDDenoiseLib.findings import info, warning
from CSRDDenoiseLib.report.checked import MEASURED, checked_rows
from CSRDDenoiseLib.report.parts import checks, notes
from CSRDDenoiseLib.report.run import Run, RunFacts, RunImages
from CSRDDenoiseLib.report.wording import settings_words
from CSRDDenoiseLib.sentences import SENTENCES
from CSRDDenoiseLib.settings import PRESETS, DenoiseSettings, plain, settings_from_preset

WITHOUT_NUMBERS = {"cut", "output"}
"""Checks whose finding has no number where all is well."""
NOT_OF_A_RUN = {"full_dose", "pair"}


def codes_of_infos() -> Iterator[str]:
    """Code of every finding of a run that is written in the library as ``info("...", ...)``."""
    for path in sorted((ROOT / "CSRDDenoiseLib").rglob("*.py")):
        if "research" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "info" and node.args:
                code = node.args[0]
                if isinstance(code, ast.Constant) and "." in str(code.value):
                    yield str(code.value)


def test_every_check_that_measures_has_its_words():
    found = set(codes_of_infos())
    assert {"filtering.none", "masked.zeros", "noise.measured"} <= found
    checks_of_runs = {code.partition(".")[0] for code in found if code not in SENTENCES}
    assert checks_of_runs - WITHOUT_NUMBERS - NOT_OF_A_RUN <= set(MEASURED)


@pytest.mark.parametrize(
    ("finding", "rows"),
    [
        (info("filtering.none", detail_mm=5.94), [("Width of the finest detail", "5.9 mm")]),
        (warning("mr.enhanced", depth_contrast=-0.052, tail=1.5, limit=1.42), ["-5 %", "1.50"]),
        (
            info("noise.inside", level=0.0664, trained=[0.019, 1.42], verdict="inside"),
            ["inside", "6.6 %", "1.9 % to 142.0 %"],
        ),
        (
            info("dose.typical", estimate=0.105, range=[0.0428, 0.257], relative_to="x", right=0.3),
            ["1/10", "x", "1/23 to 1/4"],
        ),
        (info("keep.coarse", above_mm=10.12, dose=None, chosen=False), ["10.1 mm"]),
        (
            info("uncertainty.calibrated", subjects=8, scans=16, smoothing_mm=6.0, after={"coverage": 0.755}),
            ["8", "16", "6.0 mm", "76 %"],
        ),
        (info("new.check", number=3), []),
    ],
)
def test_values_are_written_with_their_units(finding, rows):
    found = list(checked_rows([finding]))
    assert [each if isinstance(rows[n], tuple) else each[1] for n, each in enumerate(found)] == rows


def test_a_run_without_findings_has_neither_table_nor_notes(pet):
    run = Run(RunImages(pet, pet), RunFacts())
    assert checks(run) is None and notes(run) is None
    assert notes(Run(RunImages(pet, pet), RunFacts(notes=("One.", "Two.")))).text == "One. Two."


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_are_words_and_those_that_are_as_usual_are_left_out(preset):
    words = settings_words({**settings_from_preset(preset, seed=7).as_dict(), "later": 2})
    assert "seed 7" in words and words[-1] == "later 2"
    assert ("5 steps" in words) == (preset != "fast") and len(words) == (3 if preset == "fast" else 6)


def test_every_setting_that_is_not_as_usual_has_words_of_its_own_and_its_unit():
    changes = {
        **{"sampler": "heun", "steps": 1, "samples": 1, "estimate": "samples", "churn": 2.0, "keep_above_mm": 12.0},
        **{"dose": 0.1, "overlap": 0.5, "patch_size": (64, 32, 48), "seed": 3, "nan_to_zero": True, "register": True},
        **{"whole_field": True, "device": "cpu", "precision": "float32"},
    }
    assert set(changes) == {each.name for each in fields(DenoiseSettings)}
    words = settings_words(DenoiseSettings(**changes).as_dict())
    assert len(words) == len(changes) - 2, "the device and the precision have a row of their own"
    text = ", ".join(words)
    assert not re.search(r"\w_\w|True|False|None", text)
    for part in ("above 12 mm", "1/10", "50 %", "64 x 32 x 48 voxels", "1 step,", "1 sample,"):
        assert part in text
    kept = [settings_words({"keep_above_mm": plain(width)}) for width in (0.0, math.inf)]
    assert len(set(kept)) == 2 and not any("mm" in words[0] for words in kept)


def test_settings_that_are_none_are_a_damaged_record():
    with pytest.raises((TypeError, ValueError)):
        settings_words({"dose": "much"})
