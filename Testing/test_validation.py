"""Validation on one's own scans: the evaluation's numbers, filters chosen on others, resuming, one bad subject."""

from __future__ import annotations

import csv
import errno
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pair_folder import NOISE, row_of, write, write_rows, write_subject
from study_folder import SCALE
from tiny_model import save_tiny_model

from CSRDDenoiseLib.alone import alone
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import Cancelled, InputError, NotComplete, PlaceError
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.research.evaluation.measure import CEILING, ceiling, measure
from CSRDDenoiseLib.research.evaluation.methods import INPUT, ours, unchanged
from CSRDDenoiseLib.research.evaluation.study import load_study
from CSRDDenoiseLib.research.validation.choice import ON_OTHERS, ORACLE, choose, measurements
from CSRDDenoiseLib.research.validation.frequency import Spectra
from CSRDDenoiseLib.research.validation.report import REPORT, RESULTS
from CSRDDenoiseLib.research.validation.run import LOCK, STORE, ValidationConfig, run_validation
from CSRDDenoiseLib.research.validation.scans import scan_of_pair
from CSRDDenoiseLib.scan import smooth
from CSRDDenoiseLib.settings import settings_from_preset
from CSRDDenoiseLib.subjects.pair import load_pair
from CSRDDenoiseLib.subjects.table import read_table

SETTINGS = settings_from_preset("fast", device="cpu", precision="float32")
FAST = ("Median",)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for number, name in enumerate(("A", "B", "C")):
        write_subject(folder, name, number)
    return folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny", voxel_spacing_mm=4.0)


def config_of(root: Path, output: Path, model: Path, rows: list[dict[str, str]], **changes) -> ValidationConfig:
    table = read_table(write_rows(root / f"{output.name}.tsv", rows)).checked()
    return replace(ValidationConfig(output, (str(model),), SETTINGS, table, filters=FAST), **changes)


@pytest.fixture(scope="module")
def finished(root, model_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "all"
    config = config_of(root, output, model_folder, [row_of(name) for name in "ABC"])
    return config, run_validation(config)


# -- one evaluation, not two


@pytest.mark.slow
def test_numbers_equal_those_of_the_evaluation_on_the_same_subjects(root, model_folder, tmp_path):
    methods = {INPUT: unchanged, "tiny": ours(load_model(str(model_folder), "cpu"), SETTINGS)}
    expected = {(m.dose, m.method): m.scores for m in measure(load_study(root / "A"), None, methods)}
    own = run_validation(
        ValidationConfig(tmp_path / "out", (str(model_folder),), SETTINGS, folders=(root / "A",), filters=FAST)
    )
    found = {(m.dose, m.method): m.scores for m in measurements(choose(own.results))}
    assert set(expected) <= set(found) and ("1/10", CEILING) in expected
    for key, scores in expected.items():
        assert {name: found[key][name] for name in scores} == pytest.approx(scores, abs=1e-6), key
        if "truth_nrmse" in scores:
            # the noise-free image is known here, and the estimate does without it
            assert found[key]["clean_nrmse"] == pytest.approx(scores["truth_nrmse"], rel=0.05)


@pytest.mark.slow
def test_numbers_of_a_table_equal_those_of_the_evaluation(root, model_folder, tmp_path):
    """Two doses, with labels, lesions and MR; where both measure in one place, every number is the same."""
    rows = [row_of("A", dose) for dose in ("1/4", "1/10")]
    (result,) = run_validation(config_of(root, tmp_path / "two", model_folder, rows)).results
    found = {(m.dose, m.method): m.scores for m in measurements(choose([result]))}
    study = load_study(root / "A")
    # the table has no tissue and no structure of the MR alone: its brain is what has a label, its calm place a cube
    for scan in result.scans:
        (row,) = [row for row in rows if row["dose"] == scan.dose]
        (own,) = read_table(write_rows(root / "one.tsv", [row])).checked().rows
        masks = scan_of_pair(load_pair(own)).study.masks
        assert len(masks.hot) == len(masks.cold) == 1 and masks.numbers == (10, 20)
        for name in ("head", "hot", "cold"):
            np.testing.assert_array_equal(getattr(masks, name), getattr(study.masks, name), err_msg=name)
        same = replace(study, masks=replace(masks, mr_only=()), noise_free=None)
        methods = {INPUT: unchanged, "tiny": ours(load_model(str(model_folder), "cpu"), SETTINGS)}
        for expected in measure(same, [Fraction(scan.dose)], methods):
            scores = found[expected.dose, expected.method]
            assert {"psnr", "ssim", "nrmse", "bias", "region_error", "white_matter_noise"} <= set(expected.scores)
            assert {"hot_contrast", "cold_contrast", "texture"} <= set(expected.scores)
            assert {name: scores[name] for name in expected.scores} == pytest.approx(expected.scores, abs=1e-6)
    assert {dose for dose, _ in found} == {"1/4", "1/10"}


def test_one_head_under_two_names_is_refused_before_anything_is_measured(root, model_folder, tmp_path):
    copy = tmp_path / "another name.nii.gz"
    copy.write_bytes((root / "A" / "full_dose.nii.gz").read_bytes())
    config = config_of(root, tmp_path / "twice", model_folder, [row_of("A"), row_of("B", full=str(copy))])
    with pytest.raises(InputError, match=r"full image of B.* that of A"):
        run_validation(config)
    assert not config.output.exists()


# -- filters


@pytest.mark.slow
def test_filter_is_tuned_on_the_others(finished):
    chosen = choose(finished[1].results)
    curves = {
        result.subject: {m.setting: m.scores["psnr"] for m in result.scans[0].measured if m.method == "Median"}
        for result in finished[1].results
    }
    for subject in "ABC":
        others = [curve for name, curve in curves.items() if name != subject]
        best = max(others[0], key=lambda value: sum(curve[value] for curve in others))
        by_name = {each.method: each for each in chosen if each.subject == subject}
        assert by_name[f"Median, {ON_OTHERS}"].setting == best
        oracle = by_name[f"Median, {ORACLE}"]
        assert oracle.measurement.scores["psnr"] == max(curves[subject].values())
        assert oracle.measurement.chosen.startswith("width voxels = ")


@pytest.mark.slow
def test_one_subject_alone_has_oracle_tuned_filters_only(root, model_folder, tmp_path):
    found = run_validation(config_of(root, tmp_path / "alone", model_folder, [row_of("A")]))
    names = {each.method for each in choose(found.results)}
    assert f"Median, {ORACLE}" in names and f"Median, {ON_OTHERS}" not in names
    assert any(ORACLE in row[3] for row in found.gains.rows)


# -- what is written


@pytest.mark.slow
def test_files_hold_the_same_numbers(finished):
    config, _ = finished
    results = json.loads((config.output / RESULTS).read_text(encoding="utf-8"))
    with (config.output / "measurements.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    first = next(each for each in results["measurements"] if each["method"] == "tiny" and each["subject"] == "B")
    row = next(each for each in rows if each["method"] == "tiny" and each["subject"] == "B")
    assert float(row["psnr"]) == first["scores"]["psnr"]
    assert {region["label"] for region in first["regions"]} == {10, 20}
    assert results["about"]["models"]["tiny"]["weights_sha256"] and results["about"]["failed"] == {}
    page = (config.output / REPORT).read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "") and "<svg" in page and "data:image/png" in page
    for name in ("scores", "gains", "agreement", "regions", "bands"):
        assert (config.output / f"{name}.md").is_file() and (config.output / f"{name}.csv").is_file()


@pytest.mark.slow
def test_low_dose_changes_nothing_of_itself_in_any_band(finished):
    for each in choose(finished[1].results):
        if each.method == INPUT:
            assert [band.gain for band in each.bands] == pytest.approx([1.0] * len(each.bands))
            assert [band.error for band in each.bands] == pytest.approx([1.0] * len(each.bands))


def test_smoothing_takes_away_fine_detail_and_keeps_the_coarse(root):
    study = load_study(root / "A")
    low = study.array(study.low_doses[Fraction(1, 4)])
    bands = Spectra(study, low).bands(smooth(low, study.spacing, 12.0))
    gains = [band.gain for band in bands]
    assert gains[0] > 0.5 and gains[-1] < 0.1 and gains == sorted(gains, reverse=True)
    # a Gaussian of FWHM w passes exp(-(pi w f)^2 / (4 ln 2)) of a frequency f
    middle = (bands[1].low + bands[1].high) / 2
    assert gains[1] == pytest.approx(np.exp(-((np.pi * 12 * middle) ** 2) / (4 * np.log(2))), abs=0.1)
    assert bands[0].error > bands[-1].error


# -- resuming, failing


@pytest.mark.slow
def test_finished_subjects_are_not_measured_again(root, model_folder, tmp_path, monkeypatch):
    config = config_of(root, tmp_path / "twice", model_folder, [row_of("A"), row_of("B")])
    first = run_validation(config)
    monkeypatch.setattr("CSRDDenoiseLib.research.validation.run.measure_subject", None)
    again = run_validation(config)
    assert again.results == first.results
    other = replace(config, settings=replace(SETTINGS, seed=1))
    with pytest.raises(TypeError):
        run_validation(other)


def test_one_model_under_two_names_is_refused(root, model_folder, tmp_path):
    config = config_of(root, tmp_path / "twice named", model_folder, [row_of("A")])
    with pytest.raises(InputError, match="each once"):
        run_validation(replace(config, models=(str(model_folder), f"{model_folder}/../{model_folder.name}")))


def test_a_validation_in_the_folder_of_another_that_is_at_work_is_refused(root, model_folder, tmp_path):
    config = config_of(root, tmp_path / "at work", model_folder, [row_of("A")])
    with alone(config.output / STORE / LOCK, "Another", tmp_path), pytest.raises(InputError, match="at work"):
        run_validation(config)
    assert not [path for path in config.output.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_changed_image_is_measured_again(root, model_folder, tmp_path):
    for name in ("full_dose", "low_dose_1_4"):
        (tmp_path / f"{name}.nii.gz").write_bytes((root / "A" / f"{name}.nii.gz").read_bytes())
    row = {"subject": "A", "low": "low_dose_1_4.nii.gz", "full": "full_dose.nii.gz", "dose": "1/4"}
    config = config_of(tmp_path, tmp_path / "out", model_folder, [row])
    before = run_validation(config)
    low = sitk.ReadImage(str(tmp_path / "low_dose_1_4.nii.gz"))
    write(tmp_path / "low_dose_1_4.nii.gz", sitk.GetArrayFromImage(low) * 1.01, low)
    after = run_validation(config)
    assert len(list((config.output / STORE).glob("*.json"))) == 2
    assert after.results[0].scans[0].measured[0].scores != before.results[0].scans[0].measured[0].scores


@pytest.mark.slow
def test_a_full_disk_keeps_what_is_finished_and_reports_it(root, model_folder, tmp_path, monkeypatch):
    config = config_of(root, tmp_path / "out", model_folder, [row_of("A"), row_of("B")])
    written: list[Path] = []
    plain = Path.write_bytes

    def full_after(pictures: int) -> None:
        def write_bytes(path: Path, content: bytes) -> int:
            if len(written) >= pictures:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(path)
            return plain(path, content)

        monkeypatch.setattr(Path, "write_bytes", write_bytes)

    full_after(pictures=0)
    with pytest.raises(OSError, match="No space left"):
        run_validation(config)
    for pictures, finished in ((1, 1), (2, 2)):
        full_after(pictures)
        with pytest.raises(NotComplete, match=r"No space left.* Finished subjects are kept"):
            run_validation(config)
        assert len(list((config.output / STORE).glob("*.json"))) == finished
        assert not (config.output / RESULTS).exists()


@pytest.mark.slow
def test_a_place_that_is_lost_is_no_folder_that_cannot_be_written(finished):
    def lost(_measure, _tasks):
        yield from ()
        raise PlaceError("The place was lost.") from ConnectionResetError()

    with pytest.raises(PlaceError):
        run_validation(finished[0], spread=lost)


@pytest.mark.slow
def test_one_bad_subject_does_not_stop_the_others(root, model_folder, tmp_path, capsys):
    row = row_of("B")
    rows = [row_of("A"), row | {"low": row["full"], "full": row["low"]}, row_of("C")]
    table = write_rows(root / "bad.tsv", rows)
    command = [
        "validate",
        str(table),
        "--output",
        str(tmp_path / "out"),
        "--model",
        str(model_folder),
        "--device",
        "cpu",
    ]
    assert main([*command, "--filter", "Median", "--preset", "fast"]) == 4
    results = json.loads((tmp_path / "out" / RESULTS).read_text(encoding="utf-8"))
    assert list(results["about"]["failed"]) == ["B"] and "swapped" in results["about"]["failed"]["B"]
    assert results["about"]["subjects"] == ["A", "C"]
    assert "B could not be measured" in (tmp_path / "out" / REPORT).read_text(encoding="utf-8")
    assert "2 subject(s) measured, 1 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_nothing_to_measure_is_an_error(root, model_folder, tmp_path, capsys):
    row = row_of("B")
    table = write_rows(root / "none.tsv", [row | {"low": row["full"], "full": row["low"]}])
    command = ["validate", str(table), "--output", str(tmp_path / "out"), "--model", str(model_folder)]
    assert main(command) == 2 and "swapped" in capsys.readouterr().err
    assert main(["validate", "--output", str(tmp_path / "out")]) == 2
    missing = write_rows(root / "missing.tsv", [row_of("A", full="A/none.nii.gz")])
    assert main(["validate", str(missing), "--output", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_reference_region_that_is_not_there(root, model_folder, tmp_path):
    config = config_of(root, tmp_path / "reference", model_folder, [row_of("A")], reference=(99,))
    with pytest.raises(InputError, match="no region 99"):
        run_validation(config)


def test_a_reference_region_without_label_maps_is_refused_before_the_work(root, model_folder, tmp_path):
    config = config_of(root, tmp_path / "none", model_folder, [row_of("A", labels="")], reference=(1, 2))
    with pytest.raises(InputError, match="none of the 1 rows"):
        run_validation(config)
    assert not config.output.exists()


@pytest.mark.slow
def test_progress_goes_to_the_end_and_cancels(root, model_folder, tmp_path):
    seen = []
    config = config_of(root, tmp_path / "progress", model_folder, [row_of("A"), row_of("B")])
    with pytest.raises(Cancelled):
        run_validation(config, lambda progress: progress.stage != "B")
    assert len(list((config.output / STORE).glob("*.json"))) == 1
    config = replace(config, output=tmp_path / "again")
    run_validation(config, lambda progress: seen.append(progress))
    assert seen[-1].fraction == pytest.approx(1) and seen[-1].stage == "B" and seen[-2].eta_seconds is not None


# -- what repeated scans show


@pytest.mark.slow
@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (1.0, 0.8, 1.5)])
def test_repeated_scans_give_the_ceiling_and_split_the_error(root, model_folder, tmp_path, factors):
    """White noise of known variance: low doses with a quarter of the counts, each with a full dose of its own.

    Injections of another activity each are repeated scans too.
    """
    clean = sitk.ReadImage(str(root / "A" / "noise_free.nii.gz"))
    activity, rng, rows = sitk.GetArrayFromImage(clean), np.random.default_rng(1), []
    scale = NOISE * SCALE * np.sqrt(activity / SCALE)
    for number in range(3):
        common, extra = rng.standard_normal((2, *activity.shape)) * scale
        for name, image in (("full", activity + common), ("low", activity + common + 3**0.5 * extra)):
            write(tmp_path / f"{name}{number}.nii.gz", factors[number] * image, clean)
        files = {"low": f"low{number}.nii.gz", "full": f"full{number}.nii.gz"}
        rows.append({"subject": "A", **files, "dose": "1/4", "replicate": str(number)})
    found = run_validation(config_of(tmp_path, tmp_path / "repeated", model_folder, rows))
    (result,) = found.results
    low = next(each for each in result.splits if each.method == INPUT)
    wide = next(each for each in result.splits if (each.method, each.setting) == ("Median", 5))
    assert low.bias is not None and wide.bias is not None and low.pairs == 3
    assert abs(low.bias) < 0.03 * low.noise
    assert wide.bias > 5 * wide.noise and wide.noise < 0.05 * low.noise
    study = load_study(root / "A")
    expected = np.mean(scale[study.box][study.masks.head] ** 2) * 4 / study.scale**2
    assert low.noise == pytest.approx(expected, rel=0.1)
    full = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "full0.nii.gz")))[study.box]
    limit = 10 * np.log10(full[study.masks.head].max() ** 2 / (0.75 * expected / 4 * study.scale**2))
    assert result.scans[0].ceiling == pytest.approx(limit, abs=0.3)
    assert (tmp_path / "repeated" / "bias_variance.md").is_file()


@pytest.mark.slow
def test_dose_that_is_not_stated_is_estimated_and_said(root, model_folder, tmp_path):
    row = row_of("A", mr=None, labels=None, lesions=None) | {"dose": ""}
    (result,) = run_validation(config_of(root, tmp_path / "estimated", model_folder, [row])).results
    (scan,) = result.scans
    assert Fraction(scan.dose) in (Fraction(1, 3), Fraction(1, 4), Fraction(1, 6))
    assert any("states no dose" in text for text in scan.findings)
    assert scan.regions == () and "region_error" not in scan.measured[0].scores


@pytest.mark.slow
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.85, 0.85), (1.08, 0.92)])
def test_two_halves_give_the_ceiling(root, tmp_path, factors):
    """Also where they differ from the full dose, or from each other, by a factor."""
    clean = sitk.ReadImage(str(root / "A" / "noise_free.nii.gz"))
    activity, rng = sitk.GetArrayFromImage(clean), np.random.default_rng(2)
    scale = NOISE * SCALE * np.sqrt(activity / SCALE)
    halves = activity + 2**0.5 * rng.standard_normal((2, *activity.shape)) * scale
    for number, half in enumerate(halves, 1):
        write(tmp_path / f"half{number}.nii.gz", factors[number - 1] * half, clean)
    write(tmp_path / "full.nii.gz", halves.mean(0), clean)
    write(tmp_path / "low.nii.gz", halves.mean(0) + 3**0.5 * rng.standard_normal(activity.shape) * scale, clean)
    row = {"subject": "A", "low": "low.nii.gz", "full": "full.nii.gz", "dose": "1/4"}
    row |= {"half_1": "half1.nii.gz", "half_2": "half2.nii.gz"}
    pair = load_pair(read_table(write_rows(tmp_path / "pairs.tsv", [row])).checked().rows[0])
    found = ceiling(scan_of_pair(pair).study, Fraction(1, 4))
    study = load_study(root / "A")
    variance = float(np.mean(scale[study.box][study.masks.head] ** 2))
    peak = halves.mean(0)[study.box][study.masks.head].max()
    limit = 10 * np.log10(peak**2 / (0.75 * variance))
    assert found is not None and found.scores["psnr"] == pytest.approx(limit, abs=0.1)
