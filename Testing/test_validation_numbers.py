"""The numbers of a validation, from results that are made up: unrounded in JSON, the same in every table."""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from pair_folder import NOISE, row_of, write, write_rows, write_subject
from scipy import ndimage, stats
from study_folder import SCALE
from tiny_model import save_tiny_model

from CSRDDenoiseLib.research.evaluation.markdown import Table, to_markdown
from CSRDDenoiseLib.research.evaluation.methods import INPUT, Outcome
from CSRDDenoiseLib.research.validation.choice import ON_OTHERS, ORACLE, choose, measurements
from CSRDDenoiseLib.research.validation.comparison import agreements_of, gains_of
from CSRDDenoiseLib.research.validation.frequency import Band, Spectra, common_bands
from CSRDDenoiseLib.research.validation.report import RESULTS, Evaluated, files_of
from CSRDDenoiseLib.research.validation.result import Measured, Region, ScanResult, Split, SubjectResult
from CSRDDenoiseLib.research.validation.run import ValidationConfig, run_validation
from CSRDDenoiseLib.research.validation.scans import scan_of_pair
from CSRDDenoiseLib.research.validation.store import Store
from CSRDDenoiseLib.research.validation.subject import Plan, Variant, _Bench, measure_subject
from CSRDDenoiseLib.research.validation.tables import region_table
from CSRDDenoiseLib.settings import settings_from_preset
from CSRDDenoiseLib.subjects.pair import load_pair
from CSRDDenoiseLib.subjects.table import read_table

MODEL, FILTER = "net", "Gaussian"
REGIONS = (Region(1, "left | caudate", 3.0), Region(2, "", 5.0))
ABOUT = {"failed": {}}
EDGES = ((0.0, 0.02), (0.02, 0.04), (0.04, 0.06))


def bands(rng: np.random.Generator, edges=EDGES) -> tuple[Band, ...]:
    return tuple(Band(low, high, *rng.uniform(0.5, 1.5, 3).tolist()) for low, high in edges)


def measured(rng: np.random.Generator, method: str, setting=None) -> Measured:
    scores = {"psnr": float(rng.normal(30, 1)), "nrmse": float(rng.uniform(0.1, 0.2))}
    return Measured(method, setting, scores, tuple(rng.uniform(0.8, 1.2, 2).tolist()), bands(rng), 1.0)


@pytest.fixture(scope="module")
def results() -> list[SubjectResult]:
    """Six subjects with two scans each, their noise known."""
    rng, found = np.random.default_rng(0), []
    for number in range(6):
        scans, splits = [], []
        for replicate in range(2):
            methods = [measured(rng, INPUT), measured(rng, MODEL)]
            methods += [measured(rng, FILTER, setting) for setting in (2.0, 4.0)]
            full = tuple(rng.uniform(0.8, 1.2, 2).tolist())
            scans.append(
                ScanResult(f"S{number}-{replicate}", "1/4", REGIONS, full, tuple(methods), 40.0 + replicate, ())
            )
        for method, setting in ((INPUT, None), (MODEL, None), (FILTER, 2.0), (FILTER, 4.0)):
            splits.append(Split("1/4", method, setting, *rng.uniform(0.01, 0.02, 2).tolist(), 1))
        found.append(SubjectResult(f"S{number}", tuple(scans), tuple(splits)))
    return found


@pytest.fixture(scope="module")
def files(results, tmp_path_factory) -> dict[str, str]:
    tmp_path = tmp_path_factory.mktemp("pictures")
    made = files_of(Evaluated(choose(results), results, [MODEL], ABOUT, {f"S{n}": tmp_path / "none" for n in range(6)}))
    return {name: content.decode() for name, content in made.items()}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_json_has_every_number_of_the_tables_unrounded(files):
    values = json.loads(files[RESULTS])
    for entry, row in zip(values["gains"], rows(files["gains.csv"])):
        assert (entry["dose"], entry["method"], entry["over"]) == (row["dose"], row["method"], row["over"])
        factor = 100 if "%" in row["score"] else 1
        gain, (low, high) = entry["gain"], row["95 % interval"].split(" to ")
        for number, text in ((gain["mean"], row["gain"]), (gain["low"], low), (gain["high"], high)):
            assert float(text) == pytest.approx(factor * number, abs=0.00501)
        assert float(row["p (Wilcoxon)"]) == pytest.approx(gain["p"], rel=0.05) and int(row["n"]) == gain["count"] == 6
    for entry, row in zip(values["agreement"], rows(files["agreement.csv"])):
        assert float(row["bias"]) == pytest.approx(entry["bias"], abs=1e-4)
        assert float(row["ICC(2,1)"]) == pytest.approx(entry["icc"], abs=1e-4)
        assert row["limits of agreement"] == f"{entry['low']:+.4f} to {entry['high']:+.4f}"
        assert int(row["n"]) == entry["count"] == 24
    for entry, row in zip(values["bias_variance"], rows(files["bias_variance.csv"])):
        assert float(row["noise (%)"]) == pytest.approx(100 * entry["noise"], abs=0.006)
        assert float(row["error to noise-free (%)"]) == pytest.approx(100 * entry["total"], abs=0.006)
    lengths = {name: len(values[name]) for name in ("gains", "agreement", "bias_variance", "ceilings")}
    assert lengths == {"gains": 4, "agreement": 4, "bias_variance": 4, "ceilings": 6}
    assert values["ceilings"][0] == {"subject": "S0", "dose": "1/4", "psnr": 40.5}


def test_errors_of_regions_stand_under_the_method_that_made_them(results):
    # of the dose of one subject a filter cannot be tuned on others
    (scan, _), alone = results[0].scans, results[0].subject
    results = [*results[:-1], SubjectResult(alone + "b", (dataclasses.replace(scan, dose="1/10"),), ())]
    chosen = choose(results)
    table = region_table(chosen, [MODEL])
    assert {len(row) for row in table.rows} == {len(table.header)}
    for row in (dict(zip(table.header, cells)) for cells in table.rows):
        for method in table.header[2:-1]:
            of_method = [each for each in chosen if (each.dose, each.method) == (row["dose"], method)]
            place = [f"{each.label} {each.name}".strip() for each in REGIONS].index(row["region"])
            errors = [
                np.mean([one.regions[place] / scan.full[place] - 1 for one, scan in zip(each.measured, each.scans)])
                for each in of_method
            ]
            shown = row[method].split(" ± ")[0]
            is_shown = method != f"{FILTER}, {ORACLE}" or row["dose"] == "1/10"
            assert bool(shown) == (bool(errors) and is_shown)
            assert not shown or float(shown) == pytest.approx(100 * np.mean(errors), abs=0.00501)


def test_gains_and_agreement_are_those_of_the_textbook(results):
    chosen = choose(results)
    by_name = {
        name: np.array([each.measurement.scores["psnr"] for each in chosen if each.method == name])
        for name in (MODEL, INPUT)
    }
    difference = by_name[MODEL] - by_name[INPUT]
    (gain,) = (each.gain for each in gains_of(chosen, [MODEL]) if each.score == "psnr" and each.over == INPUT)
    assert gain.mean == pytest.approx(difference.mean()) and gain.p == stats.wilcoxon(difference).pvalue
    ours, full = (
        np.array([value for result in results for scan in result.scans for value in values(scan)])
        for values in (lambda scan: scan.measured[1].regions, lambda scan: scan.full)
    )
    (found,) = (each for each in agreements_of(chosen) if each.method == MODEL)
    assert found.bias == pytest.approx((ours - full).mean())
    assert found.high == pytest.approx((ours - full).mean() + 1.96 * (ours - full).std(ddof=1))
    # two-way analysis of variance by sums of squares (McGraw and Wong 1996, table 4, case 2A)
    both = np.stack([ours, full], axis=1)
    total, count = ((both - both.mean()) ** 2).sum(), len(ours)
    of_rows = 2 * ((both.mean(1) - both.mean()) ** 2).sum()
    of_columns = count * ((both.mean(0) - both.mean()) ** 2).sum()
    between, judges, rest = of_rows / (count - 1), of_columns, (total - of_rows - of_columns) / (count - 1)
    assert found.icc == pytest.approx((between - rest) / (between + rest + 2 * (judges - rest) / count))


def test_the_reference_region_is_no_region_and_its_ratio_no_agreement(tmp_path):
    write_subject(tmp_path, "A")
    (row,) = read_table(write_rows(tmp_path / "pairs.tsv", [row_of("A", mr=None)])).checked().rows
    scan = scan_of_pair(load_pair(row))
    low, full = scan.study.array(scan.study.low_doses[scan.dose]), scan.study.full_dose
    region, reference = scan.study.masks.regions
    assert scan.study.masks.numbers == (10, 20)
    plan = Plan({}, settings_from_preset("fast"), (), reference=(20,))
    (found,) = measure_subject("A", [scan], plan, lambda *_: None).scans
    ratios = [image[region].mean(dtype=float) / image[reference].mean(dtype=float) for image in (low, full)]
    assert [each.label for each in found.regions] == [10]
    assert found.measured[0].regions == pytest.approx(ratios[:1]) and found.full == pytest.approx(ratios[1:])
    assert found.measured[0].scores["region_error"] == pytest.approx(abs(ratios[0] / ratios[1] - 1))


@pytest.mark.parametrize(("name", "thick"), [("white", 4), ("white", 5), ("grey", 4)])
def test_noise_is_measured_in_enough_voxels(tmp_path, name, thick):
    """Two voxels inside a white matter of four nothing is left, and of a small one of five 9 voxels (0.6 mL) are."""
    folder = write_subject(tmp_path, "A")
    labels = sitk.ReadImage(str(folder / "regions.nii.gz"))
    values = np.zeros(labels.GetSize()[::-1], np.int16)
    values[15 : 15 + thick, 14:21, 14:21] = 1
    write(folder / "regions.nii.gz", values, labels)
    (folder / "regions.tsv").write_text(f"index\tname\n1\t{name}\n")
    row = row_of("A", lesions=None)
    (found,) = read_table(write_rows(tmp_path / "pairs.tsv", [row])).checked().rows
    mask = scan_of_pair(load_pair(found)).study.masks.white_matter
    assert mask.sum() > 0.9 * (20 / 4) ** 3 and np.ptp(np.nonzero(mask), axis=1).max() < 6, "a cube of 20 mm"


def test_labels_may_be_any_whole_numbers(tmp_path):
    """Numbers of nine digits, and below zero, of regions around lesions."""
    write_subject(tmp_path, "A")
    path = tmp_path / "A" / "regions.nii.gz"
    row = read_table(write_rows(tmp_path / "pairs.tsv", [row_of("A")])).checked().rows[0]
    plain = scan_of_pair(load_pair(row)).study.masks
    labels = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(labels).astype(np.int64)
    numbers = {number: odd for number, odd in zip(plain.numbers, (4_000_000_001, -7))}
    image = sitk.GetImageFromArray(np.where(values > 0, np.vectorize(lambda each: numbers.get(each, each))(values), 0))
    image.CopyInformation(labels)
    sitk.WriteImage(image, str(path))
    found = scan_of_pair(load_pair(row)).study.masks
    assert sorted(found.numbers) == [-7, 4_000_000_001] and found.hot
    for pair, other in zip(found.hot + found.cold, plain.hot + plain.cold):
        np.testing.assert_array_equal(pair[1], other[1])


def test_the_spread_is_held_against_the_error_to_the_noise_free_image(tmp_path):
    """The noise of a quarter of the counts as the uncertainty of the low dose: the ratio is 1, coverage too small."""
    write_subject(tmp_path, "A", 3)
    (row,) = read_table(write_rows(tmp_path / "pairs.tsv", [row_of("A", mr=None)])).checked().rows
    scan = scan_of_pair(load_pair(row))
    study = scan.study
    clean = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "A" / "noise_free.nii.gz")))[study.box]
    low = study.array(study.low_doses[scan.dose])
    std = (2 * NOISE * SCALE * np.sqrt(np.clip(clean, 0, None) / SCALE)).astype(np.float32)
    variant = Variant("made up", None, lambda _scan: Outcome(low, 0.0, std=std))
    found = _Bench(scan, Plan({}, settings_from_preset("fast"))).measure(variant, variant.apply(scan)).scores
    error = (low - clean)[study.masks.brain]
    known = np.sqrt(np.mean(std[study.masks.brain] ** 2) / np.mean(error**2))
    assert known == pytest.approx(1, abs=0.05)
    assert found["clean_spread"] == pytest.approx(known, rel=0.1)


def test_a_full_disk_stops_the_run_at_the_first_subject(tmp_path, monkeypatch):
    asked = []

    def full(self, key, result):
        asked.append(key)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Store, "save", full)
    monkeypatch.setattr("CSRDDenoiseLib.research.validation.run.measure_subject", lambda *_: None)
    names = [write_subject(tmp_path, name, number) for number, name in enumerate("AB")]
    model = save_tiny_model(tmp_path / "tiny", voxel_spacing_mm=4.0)
    settings = settings_from_preset("fast", device="cpu")
    config = ValidationConfig(tmp_path / "out", (str(model),), settings, folders=tuple(names))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        run_validation(config)
    assert len(asked) == 1


def test_a_name_with_a_bar_stays_in_its_cell(files):
    lines = [line for line in files["regions.md"].splitlines() if line.startswith("|")]
    assert "1 left \\| caudate" in lines[2]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert to_markdown(Table("", ("a|b",), (("c",),))).count("\\|") == 1


def test_the_ceiling_is_one_a_subject_and_dose(results):
    found = measurements(choose(results))
    assert [each.scores["psnr"] for each in found if each.method == "Ceiling"] == [40.5] * 6
    assert sum(each.method == f"{FILTER}, {ON_OTHERS}" for each in found) == 6


def test_bands_are_averaged_with_those_of_their_own_edges():
    rng = np.random.default_rng(1)
    whole, without = bands(rng), bands(rng, (EDGES[0], EDGES[2]))
    found = common_bands([whole, without])
    assert [[band.low for band in each] for each in found] == [[0.0, 0.0], [0.04, 0.04]]
    assert common_bands([]) == []


def test_bands_are_the_same_whichever_axis_is_which():
    """A filter along one axis, of a scan and of the same scan with its axes exchanged."""
    rng = np.random.default_rng(2)
    low, full = rng.standard_normal((2, 20, 24, 26)).astype(np.float32)
    image = ndimage.gaussian_filter1d(low, 1.0, axis=2)

    def found(*order: int) -> np.ndarray:
        turned = [np.transpose(volume, order) for volume in (low, full, image)]
        masks = SimpleNamespace(brain=np.ones(turned[0].shape, bool))
        study = SimpleNamespace(masks=masks, spacing=(4.0,) * 3, full_dose=turned[1])
        return np.array([dataclasses.astuple(band) for band in Spectra(study, turned[0]).bands(turned[2])])

    np.testing.assert_allclose(found(0, 1, 2), found(2, 1, 0), rtol=1e-4)


def test_a_repeated_scan_without_an_mr_leaves_the_split_of_the_others(tmp_path):
    rows = []
    for number, name in enumerate("ABC"):
        write_subject(tmp_path, name, number)
        without = {} if number < 2 else {"mr": None}
        rows.append(row_of(name, **without) | {"subject": "A", "replicate": str(number)})
    table = read_table(write_rows(tmp_path / "pairs.tsv", rows)).checked()
    scans = [scan_of_pair(load_pair(row)) for row in table.rows]
    plan = Plan({}, settings_from_preset("fast"), ("MR-guided filter",))
    splits = measure_subject("A", scans, plan, lambda *_: None).splits
    assert {(each.method, each.pairs) for each in splits} == {(INPUT, 3), ("MR-guided filter", 1)}
