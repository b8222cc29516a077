"""Findings and their sentences: one catalogue, other words for an option at each edge."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import pytest

import CSRDDenoiseLib
from CSRDDenoiseLib.checks.unit import check_unit
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import Finding, Severity, find, info, warning, warnings_of
from CSRDDenoiseLib.io.record import quality_of
from CSRDDenoiseLib.sentences import (
    CLI,
    EDGES,
    HINTS,
    PHRASES,
    PYTHON,
    SENTENCES,
    SLICER,
    as_fraction,
    error_sentence,
    sentence,
    sentences,
    templates,
)

MISALIGNED = warning("alignment.misaligned", reason="offset", offset_mm=12.3, angle_degrees=4.0)


@pytest.mark.parametrize(
    ("dose", "shown"),
    [(0.75, "3/4"), (0.35, "7/20"), (2 / 3, "2/3"), (0.1, "1/10"), (0.0873, "1/11"), (0.83, "4/5"), (1.0, "1")],
)
def test_a_dose_is_shown_as_the_fraction_that_it_is(dose, shown):
    assert as_fraction(dose) == shown
    found = warning("pair.dose_unlike", stated=dose, share=0.02, factor=dose / 0.02)
    assert f"dose {shown}," in sentence(found)


@pytest.mark.parametrize("code", ["pair.scale", "pair.halves", "pair.halves_apart", "full_dose.unlike"])
def test_a_factor_between_two_units_is_shown_with_its_digits(code):
    # SUV beside Bq/mL
    assert "0.0004" in sentence(warning(code, ratio=1 / 2500), CLI)
    assert " 2500 " in sentence(warning(code, ratio=2500.0), CLI)


def test_option_is_called_as_the_edge_calls_it():
    cli, slicer, python = (sentence(MISALIGNED, edge) for edge in (CLI, SLICER, PYTHON))
    assert "--register" in cli and "'Register MR to PET'" in slicer and "register=True" in python
    assert "12.3 mm" in cli and "--" not in slicer
    error = InputError("The two do not overlap.", hint="register")
    assert "--register" in error_sentence(error, CLI) and "--" not in error_sentence(error, SLICER)
    assert str(error) == error_sentence(InputError("The two do not overlap."), CLI)


def test_translation_holds_for_the_sentence_its_phrase_and_its_hint():
    def translated(text: str) -> str:
        return f"<{text}>"

    text = sentence(MISALIGNED, SLICER, translated)
    assert text.startswith("<PET and MR are misaligned: <the MR seems to be off by about 12.3 mm")
    assert "(<switch on 'Register MR to PET'>)" in text and text.endswith(">")
    known = templates(SLICER)
    assert {SENTENCES[MISALIGNED.code], PHRASES["offset"], HINTS["register"][SLICER]} <= set(known)
    assert "" not in known and not any("The table" in each for each in known)


def test_every_option_has_a_name_at_every_edge_and_none_speaks_of_another():
    for names in HINTS.values():
        assert set(names) == set(EDGES)
        assert "--" not in names[SLICER] + names[PYTHON]
    templates = " ".join([*SENTENCES.values(), *PHRASES.values()])
    assert "--" not in templates and "checkbox" not in templates
    assert set(re.findall(r"\{hint:(\w+)\}", templates)) <= set(HINTS)


def test_every_warning_of_the_library_is_in_the_catalogue():
    root = Path(CSRDDenoiseLib.__file__).parent
    code = re.compile(r'\bwarning\(\s*"([a-z_0-9]+\.[a-z_0-9]+)"')
    used = {found for path in root.rglob("*.py") for found in code.findall(path.read_text(encoding="utf-8"))}
    assert used <= set(SENTENCES), sorted(used - set(SENTENCES))


@pytest.mark.parametrize("code", SENTENCES)
def test_template_is_well_formed(code):
    assert all(name != "" for _, name, _, _ in string.Formatter().parse(SENTENCES[code]))
    assert SENTENCES[code].rstrip().endswith(".")


def test_finding_survives_json():
    copy = Finding.from_dict(json.loads(json.dumps(MISALIGNED.as_dict())))
    assert copy == MISALIGNED and copy.severity is Severity.WARNING
    with pytest.raises((KeyError, ValueError)):
        Finding.from_dict({"code": "a.b", "severity": "loud", "values": {}})


def test_measurement_has_no_sentence_and_is_found_by_its_check():
    findings = (info("alignment.aligned", nmi=1.2), MISALIGNED)
    assert sentence(findings[0]) == "" and len(sentences(findings)) == 1
    assert find(findings, "alignment") is findings[0] and find(findings, "alignment.misaligned") is MISALIGNED
    assert warnings_of(findings) == (MISALIGNED,) and find(findings, "noise") is None


def test_no_check_of_the_input_hides_another_in_the_record():
    findings = (
        info("voxels.near_cubic", anisotropy=1.2),
        warning("voxels.broken", count=1, limit=9.0, largest_at=[1, 2, 3]),
        warning("slices.out_of_scale", count=1, slices=50, axis=3, worst=21, factor=4.0),
    )
    found = quality_of(findings)["input"]
    assert found["voxels"] == {"anisotropy": 1.2, "count": 1, "limit": 9.0, "largest_at": [1, 2, 3]}
    assert found["slices"]["factor"] == 4.0


def test_a_brain_mean_of_no_known_unit_is_given_with_the_ranges():
    found = check_unit("unknown", 72.3)
    assert found.code == "unit.unclear" and found.values["suv"] == (0.3, 50.0)
    stored = Finding(found.code, found.severity, json.loads(json.dumps(found.values)))
    numbers = re.findall(r"\d[\d.,]*\d|\d", sentence(stored))
    assert numbers == ["72.3", "0.3", "50", "300", "1,000,000"]
