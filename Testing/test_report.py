"""The quality report: what it shows, that it needs no other file, and how a real browser shows and prints it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation

from CSRDDenoiseLib.checks.dose import REFERENCE, TYPICAL
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import FileRequest, denoise_files
from CSRDDenoiseLib.errors import Cancelled, InputError
from CSRDDenoiseLib.findings import Finding, info
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.volume import Suv
from CSRDDenoiseLib.prepare.register import moved
from CSRDDenoiseLib.report.drawing import AFTER, BEFORE, INK
from CSRDDenoiseLib.report.facts import facts_of_message
from CSRDDenoiseLib.report.names import NOISE_NAME
from CSRDDenoiseLib.report.parts import measurements
from CSRDDenoiseLib.report.planes import mr_head, tissue_levels
from CSRDDenoiseLib.report.regions import check_labels, labels_on, measure_regions
from CSRDDenoiseLib.report.report import check_unmoved, report_page
from CSRDDenoiseLib.report.run import InputFacts, Run, RunFacts, RunImages
from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder
from CSRDDenoiseLib.sentences import CLI, sentences
from CSRDDenoiseLib.settings import DenoiseSettings

if TYPE_CHECKING:
    from browser import Browser

pytest_plugins = ["browser"]

TWO_SAMPLES = DenoiseSettings(steps=2, samples=2, device="cpu")
SAMPLE = resource_folder() / SAMPLE_DATA
NAME = "low & <dose>.nii.gz"
ALONE = {"estimate": 0.05, "relative_to": TYPICAL, "range": [0.025, 0.1], "right": 0.4, "factor": 2.0}


def label_image(shape: tuple[int, int, int] = (24, 28, 26)) -> sitk.Image:
    """Two boxes: label 1 holds 3 x 4 x 5 voxels, label 7 as many."""
    labels = np.zeros(shape, np.int16)
    labels[8:11, 8:12, 8:13] = 1
    labels[12:15, 14:18, 10:15] = 7
    return as_image(labels)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, model_folder) -> Path:
    """A run of the command line with everything that a report can show."""
    folder = tmp_path_factory.mktemp("run")
    sitk.WriteImage(as_image(head_array()), str(folder / NAME))
    sitk.WriteImage(as_image(1000 - head_array(seed=1) / 10), str(folder / "mr.nrrd"))
    sitk.WriteImage(label_image(), str(folder / "labels.nrrd"))
    files = {"pet": NAME, "mr": "mr.nrrd", "output": "out.nii.gz", "uncertainty": "u.nrrd", "labels": "labels.nrrd"}
    words = [word for name, file in files.items() for word in (f"--{name}", str(folder / file))]
    options = ["--report", str(folder / "reports"), "--model", str(model_folder), "--steps", "2", "--samples", "2"]
    assert main(["denoise", *words, *options, "--progress", "none"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(run_folder) -> str:
    return (run_folder / "reports" / "out.html").read_text(encoding="utf-8")


@pytest.fixture
def request_with_report(tmp_path, pet, mr) -> FileRequest:
    sitk.WriteImage(pet, str(tmp_path / "pet.nrrd"))
    sitk.WriteImage(mr, str(tmp_path / "mr.nrrd"))
    names = ("pet", "mr", "output")
    return FileRequest(**{name: tmp_path / f"{name}.nrrd" for name in names}, report=tmp_path / "reports")


def test_page_shows_inputs_pictures_numbers_warnings_and_the_whole_record(page, run_folder):
    record = json.loads((run_folder / "out_provenance.json").read_text(encoding="utf-8"))
    assert record["outputs"]["report"].endswith("out.html")
    assert record["inputs"]["labels"]["sha256"] and record["seconds"]["report"] > 0
    for title in ("Before and after", "Alignment of PET and MR", "Inputs and provenance", "Profiles and histograms"):
        assert title in page
    assert page.count("<svg") == 4
    assert "26 x 28 x 24" in page and "2 x 2 x 2 mm" in page and "LPS, not oblique" in page
    assert NOISE_NAME in page and "SD denoised" in page
    found = [Finding.from_dict(each) for each in record["findings"]]
    assert sentences(found, CLI)
    for warning in sentences(found, CLI):
        assert f"<li>{escape(warning)}</li>" in page
    shown = re.search(r"<details>.*<pre>(.*)</pre>", page, re.DOTALL).group(1)
    assert json.loads(unescape(shown))["model"] == record["model"]


def test_page_stands_alone_and_names_are_text_not_markup(page):
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "@import" not in page and not re.search(r"url\((?!#)", page) and "<script" not in page
    assert "low &amp; &lt;dose&gt;.nii.gz" in page and "<dose>" not in page


def test_drawings_share_no_name_but_for_the_same_thing(page):
    """Names inside the drawings become names of the page: what is called the same must be the same."""
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    named: dict[str, set[str]] = {}
    for element, name in re.findall(r'(<(?:path|clipPath|g|image|rect)[^>]* ?id="([^"]+)"[^>]*>)', "".join(drawings)):
        named.setdefault(name, set()).add(element)
    assert named and all(len(elements) == 1 for elements in named.values())


def test_colours_of_drawings_are_those_of_the_theme(page):
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    for name, colour in (("ink", INK), ("before", BEFORE), ("accent", AFTER)):
        assert f"var(--{name})" in drawings and colour not in drawings
        assert len(re.findall(rf"--{name}: #", page)) == 2, "one value in the light theme, one in the dark"


@pytest.mark.slow
def test_browser_shows_every_picture_without_an_error(browser: Browser, run_folder):
    for width in (1200, 480):
        shown = browser.open(run_folder / "reports" / "out.html", width)
        assert shown.complaints == []
        assert len(shown.image_widths) == 4 and min(shown.image_widths) > 0
        assert shown.too_wide <= 0


@pytest.mark.slow
def test_browser_test_can_fail(browser: Browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<html><body><img src="none.png"><script>nothing()</script></body></html>')
    shown = browser.open(bad)
    assert shown.image_widths == [0]
    assert any("nothing is not defined" in line for line in shown.complaints)


@pytest.mark.slow
@pytest.mark.parametrize("many", [False, True], ids=["usual", "many warnings"])
def test_page_prints_to_two_sheets(browser: Browser, tmp_path, run_folder, many):
    """With the bundled head, whose pictures have real proportions; what it is denoised with does not matter."""
    facts = facts_of_message(json.loads((run_folder / "out_provenance.json").read_text(encoding="utf-8")))
    pet, mr, labels = (sitk.ReadImage(str(SAMPLE / f"{n}.nii.gz")) for n in ("low_dose_1_10", "mr", "labels"))
    if many:
        warnings = (f"Warning {i} is a sentence of the usual length, with a number or two: {i}." for i in range(9))
        checked = (info(f"{check}.found", **dict.fromkeys("abcdefgh", 1.25)) for check in ("alignment", "noise", "cut"))
        facts = replace(facts, warnings=tuple(warnings), findings=tuple(checked))
    pet = sitk.Cast(pet, sitk.sitkFloat32)
    facts = replace(facts, findings=(*facts.findings, info("dose.typical", **ALONE)), unit="Bq/mL")
    in_suv = replace(facts.inputs[0], suv=Suv((0.0004,), "BIDS sidecar, Bq/mL: 80 kg, 200 MBq, half-life 6586.2 s"))
    facts = replace(facts, inputs=(in_suv, *facts.inputs[1:]))
    images = RunImages(pet, sitk.DiscreteGaussian(pet, [4.0] * 3), sitk.Abs(pet) * 0.05, mr, labels)
    path = tmp_path / "report.html"
    path.write_text(report_page(images, facts), encoding="utf-8")
    if "CSRD_TEST_PICTURES" in os.environ:
        browser.picture(path, Path(os.environ["CSRD_TEST_PICTURES"]) / f"report-{'much' if many else 'usual'}.png")
    assert browser.print(path) == 2


@pytest.mark.slow
@pytest.mark.parametrize("left_out", [("mr",), ("uncertainty",), ("labels",), ("mr", "uncertainty", "labels")])
def test_page_without_what_there_is_not(left_out, pet, mr):
    images = {"pet": pet, "denoised": pet, "uncertainty": sitk.Abs(pet), "mr": mr, "labels": label_image()}
    page = report_page(RunImages(**{name: image for name, image in images.items() if name not in left_out}), RunFacts())
    assert ("No MR was used" in page) == ("mr" in left_out)
    assert ("Median uncertainty" in page) == ("uncertainty" not in left_out)
    assert ("<h2>Regions</h2>" in page) == ("labels" not in left_out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pet",
    [
        as_image(np.zeros((12, 12, 12), np.float32)),
        as_image(np.full((5, 6, 7), np.nan, np.float32)),
        as_image(head_array((30, 8, 28)) * 1e-30, (0.5, 8.0, 2.0), direction=rotation(40)),
        as_image(-head_array()),
    ],
    ids=["empty", "nan", "anisotropic and faint", "negative"],
)
def test_page_of_odd_volumes_does_not_fail(pet):
    assert report_page(RunImages(pet, pet, pet, pet), RunFacts()).count("<svg") == 4


SUV_CASES = {
    "known": (Suv((0.002,), "by hand"), "Bq/mL", 0.002),
    "by slice": (Suv((0.002,) * 24, "by hand"), "Bq/mL", 0.002),
    "unknown": (Suv(None, "PatientWeight is missing"), "Bq/mL", None),
    "suv already": (Suv((1.0,), "the unit"), "g/mL (SUV)", None),
    "no header": (None, "Bq/mL", None),
}


@pytest.mark.parametrize(("suv", "unit", "factor"), SUV_CASES.values(), ids=SUV_CASES)
def test_suv_is_beside_the_unit_where_it_is_known(suv, unit, factor):
    pet = as_image(head_array())
    denoised = sitk.Multiply(pet, 0.9)
    geometry = (pet.GetSize(), pet.GetSpacing(), pet.GetOrigin(), pet.GetDirection())
    given = InputFacts("PET", "pet", *geometry, "float", unit, 0.0, float(head_array().max()), suv=suv)
    run = Run(RunImages(pet, denoised), RunFacts(unit=unit, inputs=(given,)))
    rows = {row.cells[0]: row.cells[1:] for row in measurements(run).rows}
    if factor is None:
        assert not any("SUV " in cell for row in rows.values() for cell in row)
        return
    for shown, array in zip(rows["Maximum"], (head_array(), head_array() * 0.9)):
        found = re.search(r"\(SUV ([-\d.]+)\)", shown)
        assert found and float(found[1]) == pytest.approx(array.max() * factor, rel=1e-3)
    assert ("SUV" in rows["Largest difference"][1]) == (len(suv.factors) == 1)


@pytest.mark.slow
def test_factor_goes_from_a_sidecar_through_the_record_to_the_page(tmp_path, pet, model_folder):
    entries = {
        **{"Units": "Bq/mL", "InjectedRadioactivity": 200, "InjectedRadioactivityUnits": "MBq", "BodyWeight": 80},
        **{"TracerRadionuclide": "F18", "InjectionStart": 0, "ImageDecayCorrected": True},
        **{"ImageDecayCorrectionTime": 0, "FrameTimesStart": [0], "FrameDuration": [600]},
    }
    sidecar = tmp_path / "sub-01_pet.json"
    sidecar.write_text(json.dumps(entries))
    sitk.WriteImage(pet, str(tmp_path / "sub-01_pet.nii.gz"))
    output = tmp_path / "sub-01_desc-denoised_pet.nii.gz"
    files = {"pet": tmp_path / "sub-01_pet.nii.gz", "output": output, "report": tmp_path / "report"}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    sampler = ["--sampler", "mean", "--device", "cpu", "--progress", "none"]
    assert main(["denoise", *options, *sampler, "--model", str(model_folder)]) == 0
    written = json.loads((tmp_path / "sub-01_desc-denoised_pet_provenance.json").read_text())
    # weight in g over dose in Bq
    assert written["inputs"]["pet"]["suv_factor"] == pytest.approx(80e3 / 200e6)
    assert "value x 0.0004" in (tmp_path / "report" / "sub-01_desc-denoised_pet.html").read_text(encoding="utf-8")
    assert facts_of_message(written).inputs[0].suv.factors == (pytest.approx(0.0004),)
    # the names that BIDS keeps its own metadata under stay as they are, or free
    assert json.loads(sidecar.read_text()) == entries and not output.with_name("sub-01_desc-denoised_pet.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dose", "shown"),
    [
        ({"estimate": 0.123, "relative_to": REFERENCE}, "full-dose reference</dt><dd>about 0.12</dd>"),
        (ALONE, "typical full dose of the training</dt><dd>about 1/20, likely 1/10 to 1/40</dd>"),
        (None, None),
    ],
    ids=["with a reference", "alone", "not known"],
)
def test_dose_is_at_a_glance_with_what_it_is_relative_to(pet, dose, shown):
    findings = (info("noise.measured", level=0.1), *([info("dose.any", **dose)] if dose else []))
    page = report_page(RunImages(pet, pet), RunFacts(findings=findings))
    (glance,) = re.findall(r'<dl class="glance">(.*)</dl>', page)
    assert f"<dt>Dose relative to the {shown}" in glance if shown else "Dose" not in glance


@pytest.mark.parametrize(
    "damage", [{}, {"inputs": None}, {"findings": [{"code": "x"}]}], ids=["empty", "inputs", "findings"]
)
def test_record_that_cannot_be_used_is_refused(run_folder, damage):
    record = json.loads((run_folder / "out_provenance.json").read_text(encoding="utf-8"))
    assert facts_of_message(record).pet_name == NAME
    with pytest.raises(InputError, match="denoise the PET again"):
        facts_of_message({**record, **damage} if damage else {})


def test_volume_whose_voxels_were_made_larger_is_not_that_of_the_run(pet):
    geometry = (pet.GetSize(), pet.GetSpacing(), pet.GetOrigin(), pet.GetDirection())
    facts = RunFacts(inputs=(InputFacts("PET", "pet", *geometry, "float", "Bq/mL", 0.0, 1.0),))
    check_unmoved({"pet": pet}, facts)
    larger = sitk.Image(pet)
    larger.SetSpacing([1.1 * side for side in pet.GetSpacing()])
    with pytest.raises(InputError, match="its place changed"):
        check_unmoved({"pet": larger}, facts)


@pytest.mark.slow
def test_same_run_same_page(pet, mr):
    images = RunImages(pet, sitk.DiscreteGaussian(pet), None, mr)
    assert report_page(images, RunFacts(unit="Bq/mL")) == report_page(images, RunFacts(unit="Bq/mL"))


@pytest.mark.slow
def test_mr_is_shown_where_the_registration_put_it(pet, mr):
    motion = sitk.Euler3DTransform((0.0, 30.0, 20.0), 0.1, 0.0, 0.2, (3.0, -2.0, 4.0))
    pictures = [
        re.findall(r"<svg.*?</svg>", report_page(RunImages(pet, pet, None, used), facts), re.DOTALL)[1]
        for used, facts in ((mr, RunFacts(motion=motion)), (moved(mr, motion), RunFacts()), (mr, RunFacts()))
    ]
    assert pictures[0] == pictures[1] != pictures[2]


def test_mr_has_the_axes_of_a_pet_that_is_oblique_by_45_degrees():
    # by 30 and 45 degrees, written with seven digits: two axes point to the left and to the back alike
    direction = (0.8660254, 0.35355338, 0.35355338, 0.0, 0.70710677, -0.70710677, -0.5, 0.61237246, 0.61237246)
    pet = as_image(head_array(), direction=direction)
    run = Run(RunImages(pet, pet, mr=pet * 2 + 1), RunFacts())
    np.testing.assert_allclose(run.mr, 2 * run.pet + 1, rtol=1e-5)


def test_regions_are_measured_on_the_pet_grid(pet):
    fine = sitk.Resample(
        label_image(), [52, 56, 48], sitk.Transform(), sitk.sitkNearestNeighbor, (-20.5, 9.5, 4.5), (1, 1, 1)
    )
    before, labels = sitk.GetArrayFromImage(pet), sitk.GetArrayFromImage(label_image())
    found = measure_regions(labels_on(fine, Grid.of(pet)), before, before * 0.9, before * 0.1, voxel_ml=0.008)
    assert [region.label for region in found] == [1, 7]
    for region in found:
        inside = before[labels == region.label]
        assert region.millilitres == pytest.approx(60 * 0.008)
        assert region.before == pytest.approx(inside.mean()) and region.spread_before == pytest.approx(
            inside.std(), rel=1e-4
        )
        assert region.after == pytest.approx(0.9 * inside.mean()) and region.uncertainty == pytest.approx(
            inside.mean() / 10
        )
        assert region.change_percent == pytest.approx(-10, abs=1e-3)


def test_outline_of_an_mr_is_one_filled_head_and_levels_part_its_tissues():
    z, y, x = np.indices((40, 40, 40)) - 19.5
    radius = np.sqrt(x**2 + y**2 + z**2)
    mr = np.select([radius < 6, radius < 11, radius < 15], [100.0, 0.0, 60.0], 0.0).astype(np.float32)
    mr[2, 2, 2] = 100
    assert np.array_equal(mr_head(mr), radius < 15)
    low, high = tissue_levels(mr[radius < 15])
    assert 0 < low < 60 < high < 100


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (as_image(head_array()), "not whole numbers"),
        (as_image(np.zeros((24, 28, 26), np.int16)), "no label inside the PET"),
        (as_image(np.ones((4, 4, 4), np.int16), origin=(900.0, 0.0, 0.0)), "no label inside the PET"),
        (as_image(np.arange(24 * 28 * 26).reshape(24, 28, 26).astype(np.int32)), "17471 labels"),
    ],
    ids=["an image", "empty", "elsewhere", "too many"],
)
def test_label_map_that_cannot_be_used_is_refused(labels, words, pet):
    with pytest.raises(InputError, match=words):
        check_labels(labels, pet)


def test_labels_without_a_report_and_a_report_without_matplotlib_are_refused(request_with_report, monkeypatch):
    with pytest.raises(InputError, match="label map is for the report"):
        denoise_files(replace(request_with_report, report=None, labels=request_with_report.mr), TWO_SAMPLES)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else real(name))
    with pytest.raises(InputError, match="matplotlib"):
        denoise_files(request_with_report, TWO_SAMPLES)


@pytest.mark.parametrize("stage", ["sample", "report"])
def test_cancelled_run_leaves_no_report_and_no_folder(request_with_report, model_folder, stage):
    with pytest.raises(Cancelled):
        denoise_files(request_with_report, TWO_SAMPLES, model_folder, lambda report: report.stage != stage)
    assert {path.name for path in request_with_report.output.parent.iterdir()} == {"pet.nrrd", "mr.nrrd"}


@pytest.mark.slow
def test_report_that_exists_is_kept_and_a_file_is_no_folder(request_with_report, model_folder):
    request_with_report.report.write_text("mine")
    with pytest.raises(InputError, match="is a file; give a folder"):
        denoise_files(request_with_report, TWO_SAMPLES, model_folder)
    request_with_report.report.unlink()
    request_with_report.report.mkdir()
    request_with_report.page.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        denoise_files(request_with_report, TWO_SAMPLES, model_folder)
    assert request_with_report.page.read_text(encoding="utf-8") == "mine"
    denoise_files(replace(request_with_report, overwrite=True), TWO_SAMPLES, model_folder)
    assert "PET denoising report" in request_with_report.page.read_text(encoding="utf-8")
    shutil.rmtree(request_with_report.report)
