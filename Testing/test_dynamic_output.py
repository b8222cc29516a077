"""Dynamic PET: DICOM, SUV, report and record of a run, requests that cannot end well, and ends from outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dicom_series
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from conftest import ENVIRONMENT, as_image, head_array
from dynamic_study import MEAN, STARTS, alone, kinetic, labels, plain_study, values, write_study

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import denoise_files
from CSRDDenoiseLib.dynamic.denoise import FileRequest, _one_frame, denoise_dynamic
from CSRDDenoiseLib.errors import Cancelled, InputError
from CSRDDenoiseLib.io.frame_file import FrameStore, FrameWriter
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.outputs import Target
from CSRDDenoiseLib.io.read import read, read_frames
from CSRDDenoiseLib.io.study import open_study
from CSRDDenoiseLib.io.suv import volume_suv
from CSRDDenoiseLib.model.bundle import load_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(model_folder):
    return load_model(model_folder)


@pytest.mark.parametrize("enhanced", [False, True])
def test_dicom_series_comes_back_with_its_frames(tmp_path, enhanced, monkeypatch, model):
    shape = (6, 28, 26)
    monkeypatch.setattr(dicom_series, "SHAPE", shape)
    monkeypatch.setattr(dicom_series, "STEP", (5.0, 2.0, 2.0))
    monkeypatch.setattr(dicom_series, "slopes", lambda: np.full(6, 0.3))
    monkeypatch.setattr(dicom_series, "stored_values", lambda frame=0: (head_array(shape, frame) * 3).astype(np.uint16))
    may_be_empty = ("AccessionNumber", "StudyDate", "StudyID", "PatientSex")
    if enhanced:
        data = dicom_series.enhanced(3)
        for name in filter(data.__contains__, may_be_empty):
            delattr(data, name)
        source = dicom_series.save(data, tmp_path / "pet.dcm")
    else:
        source = dicom_series.write_series(tmp_path / "pet", frames=3)
    result = denoise_dynamic(FileRequest(source, tmp_path / "out"), MEAN, model)
    again, before = list(read_frames(tmp_path / "out", "PET")), list(read_frames(source, "PET"))
    assert again[0].header.frames == before[0].header.frames and len(again) == 3
    for index, (one, other) in enumerate(zip(again, before)):
        expected = alone(other.image, index, model)
        np.testing.assert_allclose(sitk.GetArrayFromImage(one.image), expected, atol=expected.max() / 32767)
    assert [outcome.status for outcome in result.frames] == ["denoised"] * 3
    headers = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert (
        len({data.SeriesInstanceUID for data in headers}) == 1 and len({data.SOPInstanceUID for data in headers}) == 18
    )
    assert [data.ImageIndex for data in headers] == list(range(1, 19))
    if enhanced:
        assert headers[0].SeriesType[0] == "DYNAMIC" and headers[0].NumberOfTimeSlices == 3
        assert all(name in data and not data[name].value for data in headers for name in may_be_empty)


def test_dicom_map_has_one_segmentation_a_frame(tmp_path, monkeypatch, model):
    pytest.importorskip("highdicom")
    from CSRDDenoiseLib.io.dicom_labels import read_labels

    monkeypatch.setattr(dicom_series, "SHAPE", (6, 28, 26))
    monkeypatch.setattr(dicom_series, "STEP", (5.0, 2.0, 2.0))
    monkeypatch.setattr(dicom_series, "slopes", lambda: np.full(6, 0.3))
    head = (head_array((6, 28, 26)) * 3).astype(np.uint16)
    monkeypatch.setattr(dicom_series, "stored_values", lambda frame=0: head)
    source = dicom_series.write_series(tmp_path / "pet", frames=2)
    places = {"output": tmp_path / "out.nii", "support": tmp_path / "map"}
    monkeypatch.setattr("CSRDDenoiseLib.dynamic.denoise._one_frame", with_map(_one_frame))
    denoise_dynamic(FileRequest(source, **places), MEAN, model)
    files = sorted((tmp_path / "map").iterdir())
    assert [path.name for path in files] == ["SEG0001.dcm", "SEG0002.dcm"]
    for number, path in enumerate(files, 1):
        found, _ = read_labels(path)
        assert np.argwhere(found).tolist() == [[number, 3, 4]] and found[number, 3, 4] == number
    made = [pydicom.dcmread(path) for path in files]
    assert [data.InstanceNumber for data in made] == [1, 2] and len({data.SeriesInstanceUID for data in made}) == 1
    referenced = [str(data.ReferencedSeriesSequence) for data in made]
    assert referenced[0] != referenced[1]


def with_map(run):
    """Frames whose map has one voxel each, at another place with another value."""

    def one_frame(study, volume, callback):
        outcome, images = run(study, volume, callback)
        values = np.zeros(images["support"].GetSize()[::-1], np.uint8)
        values[outcome.index + 1, 3, 4] = outcome.index + 1
        return outcome, {**images, "support": Grid.of(images["support"]).image(values)}

    return one_frame


def label_file(folder: Path, study: Path) -> Path:
    """The labels as a file on the grid of a study."""
    first = next(iter(read_frames(study, "PET"))).image
    sitk.WriteImage(Grid.of(first).image(labels().astype(np.int16)), str(folder / "labels.nii.gz"))
    return folder / "labels.nii.gz"


def test_report_shows_frames_and_time_activity_curves(tmp_path, model_folder, capsys):
    pytest.importorskip("matplotlib")
    path = write_study(tmp_path / "pet.nii", kinetic(7))
    words = ["--pet", path, "--output", tmp_path / "out.nii", "--frames", "2-", "--report", tmp_path / "reports"]
    words += ["--labels", label_file(tmp_path, path), "--model", model_folder, "--sampler", "mean", "--device", "cpu"]
    assert main(["denoise", *map(str, words)]) == 0, capsys.readouterr().err
    page = (tmp_path / "reports" / "out.html").read_text(encoding="utf-8")
    for text in (
        "6 of 7",
        "Time frames",
        "not chosen",
        "Time-activity curves",
        "late frames (6-7)",
        "Before and after",
    ):
        assert text in page, text
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    assert len(record["inputs"]["labels"]["sha256"]) == 64 and record["outputs"]["report"].endswith("out.html")
    before, after, places = values(path), values(tmp_path / "out.nii"), labels()
    assert [curve["label"] for curve in record["curves"]] == [1, 2, 3]
    for curve in record["curves"]:
        inside = places == curve["label"]
        np.testing.assert_allclose(curve["before"], before[:, inside].mean(1), rtol=1e-5)
        np.testing.assert_allclose(curve["after"], after[:, inside].mean(1), rtol=1e-5)
        assert curve["millilitres"] == pytest.approx(inside.sum() * 0.008)
        assert curve["before"][0] == curve["after"][0] and curve["before"][1] != curve["after"][1]


def test_voxels_that_are_no_numbers_are_zeros_of_a_dynamic_pet_too(tmp_path, model):
    """With ``nan_to_zero``: the outputs and curves of frames with NaN and infinity are those of frames with zeros."""
    pytest.importorskip("matplotlib")
    zeros = kinetic(14)[5:]
    zeros[:, 3, 5, 6] = zeros[4, 12, 14, 13] = 0
    bad = zeros.copy()
    bad[:, 3, 5, 6], bad[4, 12, 14, 13] = np.nan, np.inf
    settings, made = replace(MEAN, nan_to_zero=True), []
    for name, frames in (("zeros", zeros), ("bad", bad)):
        path = write_study(tmp_path / f"{name}.nii", frames)
        request = FileRequest(path, tmp_path / f"{name}_out.nii", labels=label_file(tmp_path, path), report=tmp_path)
        result = denoise_dynamic(replace(request, frames="1-6"), settings, model)
        made.append((values(request.output), result.curves))
    (expected, curves), (found, found_curves) = made
    np.testing.assert_array_equal(found[:6], expected[:6])
    assert found_curves == curves
    np.testing.assert_array_equal(found[6:], bad[6:])


def test_a_late_frame_with_nan_passes_through_and_the_others_give_the_place(tmp_path, model):
    pytest.importorskip("matplotlib")
    frames = kinetic(14)[5:]
    frames[7, 12, 14, 13] = np.nan
    path = write_study(tmp_path / "pet.nii", frames)
    request = FileRequest(path, tmp_path / "out.nii", labels=label_file(tmp_path, path), report=tmp_path)
    result = denoise_dynamic(request, MEAN, model)
    assert result.late == (8,) and result.frames_with("unchanged") == (7,)
    assert result.frames[7].reason == "not_finite"
    np.testing.assert_array_equal(values(request.output)[7], frames[7])
    assert np.isfinite(np.delete(values(request.output), 7, 0)).all()
    json.loads((tmp_path / "out_provenance.json").read_text(), parse_constant=pytest.fail)


def test_late_frames_all_with_nan_are_refused(tmp_path, model):
    frames = kinetic(14)[5:]
    frames[:, 3, 5, 6] = np.nan
    request = FileRequest(write_study(tmp_path / "pet.nii", frames), tmp_path / "out.nii")
    with pytest.raises(InputError, match=r"8-9.*\(1 of 17472 in frame 8") as refused:
        denoise_dynamic(request, MEAN, model)
    assert refused.value.hint == "nan_to_zero" and not request.output.exists()


def test_report_without_labels_and_without_times(tmp_path, model):
    pytest.importorskip("matplotlib")
    path = plain_study(tmp_path / "pet.nii")
    path.with_name("pet.json").unlink()
    request = FileRequest(path, tmp_path / "out.nii", report=tmp_path / "reports")
    denoise_dynamic(request, MEAN, model)
    page = request.page.read_text(encoding="utf-8")
    assert "4 of 4" in page and "Time-activity curves" not in page


def test_label_map_beside_the_study_is_refused_before_the_work(tmp_path, model, pet):
    pytest.importorskip("matplotlib")
    path = plain_study(tmp_path / "pet.nii")
    sitk.WriteImage(pet, str(tmp_path / "image.nii"))
    request = FileRequest(path, tmp_path / "out.nii", report=tmp_path / "reports", labels=tmp_path / "image.nii")
    with pytest.raises(InputError, match="not whole numbers"):
        denoise_dynamic(request, MEAN, model)
    assert not (tmp_path / "reports").exists()


def test_a_dynamic_record_runs_again(tmp_path, model_folder, mr, capsys):
    path = plain_study(tmp_path / "pet.nii.gz")
    sitk.WriteImage(mr, str(tmp_path / "mr.nii"))
    words = ["--pet", path, "--mr", tmp_path / "mr.nii", "--register", "--output", tmp_path / "out.nii.gz"]
    words += ["--uncertainty", tmp_path / "sd.nii", "--frames", "2-3", "--seed", "7", "--model", model_folder]
    words += ["--region", label_file(tmp_path, path), "--motion"]
    words += ["--sampler", "dpmpp", "--steps", "2", "--samples", "2", "--device", "cpu", "--precision", "float32"]
    assert main(["denoise", *map(str, words)]) == 0
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    assert record["settings"]["register"] and record["settings"]["seed"] == record["seed"] == 7
    assert [frame.get("seed") for frame in record["frames"]] == [None, 8, 9, None]
    words = ["--replay", tmp_path / "out_provenance.json", "--output", tmp_path / "again.nii.gz"]
    words += ["--uncertainty", tmp_path / "again_sd.nii"]
    outside = labels() == 0
    np.testing.assert_array_equal(values(tmp_path / "out.nii.gz")[:, outside], values(path)[:, outside])
    assert main(["denoise", *map(str, words)]) == 0, capsys.readouterr().err
    np.testing.assert_array_equal(values(tmp_path / "again.nii.gz"), values(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(values(tmp_path / "again_sd.nii"), values(tmp_path / "sd.nii"))
    plain_study(path, 3)
    assert main(["denoise", *map(str, words), "--overwrite"]) == 2
    assert "not the one of the run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pet.nrrd", "pet.mha"])
def test_other_formats_are_read_with_the_times_of_their_sidecar(tmp_path, model, name):
    path = plain_study(tmp_path / "source.nii", 2)
    frames = [volume.image for volume in read_frames(path, "PET")]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / name))
    path.with_name("source.json").rename(tmp_path / "pet.json")
    denoise_dynamic(FileRequest(tmp_path / name, tmp_path / "out.nii"), MEAN, model)
    expected = [alone(frame, index, model) for index, frame in enumerate(frames)]
    np.testing.assert_array_equal(values(tmp_path / "out.nii"), expected)
    assert json.loads((tmp_path / "out.json").read_text())["FrameTimesStart"] == list(STARTS[:2])


def test_requests_that_cannot_end_well(tmp_path, model, pet):
    path, out = plain_study(tmp_path / "pet.nii"), tmp_path / "out.nii"
    (tmp_path / "there.json").write_text("{}")
    for words, changes in {
        "dynamic; leave": {"full_dose_reference": path},
        "for the report": {"labels": path},
        ".nii or .nii.gz": {"output": tmp_path / "out.nrrd"},
        "sidecar": {"output": tmp_path / "there.nii"},
        "sidecar.*input": {"output": tmp_path / "pet.nii.gz"},
        "not among 1 to 4": {"frames": "3-9"},
    }.items():
        with pytest.raises(InputError, match=words):
            denoise_dynamic(FileRequest(**{"pet": path, "output": out, **changes}), MEAN, model)
    with pytest.raises(InputError, match="dynamic study of 4"):
        denoise_files(FileRequest(path, out), MEAN, model)
    sitk.WriteImage(pet, str(tmp_path / "static.nii"))
    with pytest.raises(InputError, match="static"):
        denoise_dynamic(FileRequest(tmp_path / "static.nii", out, frames="1"), MEAN, model)
    assert not out.exists()


def test_each_frame_becomes_suv_by_its_own_factor(tmp_path, model):
    path = plain_study(tmp_path / "pet.nii", 3)
    entries = {"BodyWeight": 70, "InjectedRadioactivity": 368.08, "InjectedRadioactivityUnits": "MBq"}
    entries.update(TracerRadionuclide="C11", InjectionStart=0, ImageDecayCorrected=False)
    entries.update(json.loads((tmp_path / "pet.json").read_text()))
    entries.update(FrameTimesStart=[0, 600, 1200], FrameDuration=[600] * 3)
    (tmp_path / "pet.json").write_text(json.dumps(entries))
    factors = [volume_suv(volume).factor for volume in read_frames(path, "PET")]
    assert factors[1] / factors[0] == pytest.approx(2 ** (600 / 1221.8), rel=1e-4)
    request = FileRequest(path, tmp_path / "out.nii", difference=tmp_path / "diff.nii", output_unit="suv", frames="2")
    denoise_dynamic(request, MEAN, model)
    before, after, difference = (values(place) for place in (path, request.output, request.difference))
    for index, factor in enumerate(factors):
        np.testing.assert_allclose(after[index] - difference[index], before[index] * factor, rtol=1e-5, atol=1e-5)
    assert np.any(difference[1]) and not np.any(difference[[0, 2]])
    written = json.loads((tmp_path / "out.json").read_text())
    # each factor corrects the decay since the injection
    assert (written["Units"], written["ImageDecayCorrected"], written["ImageDecayCorrectionTime"]) == ("g/mL", True, 0)


@pytest.mark.parametrize("unit", ["same", "suv"])
def test_a_map_of_kinds_has_no_unit(tmp_path, unit):
    study = open_study(plain_study(tmp_path / "pet.nii", 2))
    study = replace(study, sidecar={**study.sidecar, "Units": "Bq/mL"})
    writer = FrameWriter(study, Target(study.path, study.read(0), unit))
    assert "Units" not in writer.sidecar("support", {})
    assert writer.sidecar("bare", {})["Units"] == {"same": "Bq/mL", "suv": "g/mL"}[unit]


def test_a_sequence_of_slicer_is_named(tmp_path, capsys):
    image = sitk.Compose([as_image(head_array(seed=index)) for index in range(3)])
    sitk.WriteImage(image, str(tmp_path / "pet.seq.nrrd"))
    header, _, content = (tmp_path / "pet.seq.nrrd").read_bytes().partition(b"\n\n")
    lines = b"\naxis 0 index type:=numeric\naxis 0 index values:=0 60 120\n\n"
    (tmp_path / "pet.seq.nrrd").write_bytes(header + lines + content)
    assert main(["inspect", str(tmp_path / "pet.seq.nrrd")]) == 2
    assert "sequence of 3D Slicer" in capsys.readouterr().err


def test_progress_counts_frames_and_cancel_leaves_nothing(tmp_path, model):
    path, seen = plain_study(tmp_path / "pet.nii"), []
    denoise_dynamic(FileRequest(path, tmp_path / "a.nii"), MEAN, model, seen.append)
    assert {each.message.partition(":")[0] for each in seen if each.stage == "frames"} >= {
        f"frame {n} of 4" for n in (1, 2, 3, 4)
    }
    fractions = [each.fraction for each in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Cancelled):
        denoise_dynamic(
            FileRequest(path, tmp_path / "b.nii"), MEAN, model, lambda each: not each.message.startswith("frame 3")
        )
    assert sorted(tmp_path.iterdir()) == before


KILLED = """
import os, signal, sys
from CSRDDenoiseLib.dynamic.denoise import FileRequest, _one_frame, denoise_dynamic
from CSRDDenoiseLib.settings import DenoiseSettings
def stop(progress):
    if progress.message.startswith("frame 3"):
        os.kill(os.getpid(), signal.SIGKILL)
settings = DenoiseSettings(sampler="mean", samples=1, device="cpu")
denoise_dynamic(FileRequest(sys.argv[1], sys.argv[2]), settings, sys.argv[3], stop)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_run_leaves_nothing(tmp_path, model_folder):
    path = plain_study(tmp_path / "pet.nii")
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "out.nii.gz"), str(model_folder)]
    assert subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode == -signal.SIGKILL
    assert sorted(each.name for each in tmp_path.iterdir()) == ["pet.json", "pet.nii"]


KILLED_WRITING = KILLED.replace('progress.message.startswith("frame 3")', 'progress.stage == "write" and progress.step')


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_a_run_killed_while_writing_left_is_gone_after_the_next(tmp_path, model, model_folder):
    path = plain_study(tmp_path / "pet.nii", 2)
    words = [str(path), str(tmp_path / "out.nii.gz"), str(model_folder)]
    killed = subprocess.run([sys.executable, "-c", KILLED_WRITING, *words], env=ENVIRONMENT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    left = {each.name for each in tmp_path.iterdir()} - {"pet.json", "pet.nii"}
    assert left and all(".partial." in name for name in left)
    denoise_dynamic(FileRequest(path, tmp_path / "out.nii.gz"), MEAN, model)
    made = ["out.json", "out.nii.gz", "out_provenance.json", "pet.json", "pet.nii"]
    assert sorted(each.name for each in tmp_path.iterdir()) == made


def test_memory_does_not_grow_with_the_frames(tmp_path, model):
    import tracemalloc

    peaks, shape = [], (40, 44, 42)
    for count in (2, 3, 9):
        path = write_study(tmp_path / f"pet{count}.nii", np.array([head_array(shape, n) for n in range(count)]))
        request = FileRequest(path, tmp_path / f"out{count}.nii", difference=tmp_path / f"diff{count}.nii")
        tracemalloc.start()
        denoise_dynamic(request, MEAN, model)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    frame = int(np.prod(shape)) * 4
    assert peaks[1] > frame and peaks[2] - peaks[1] < frame, peaks


def test_store_gives_back_what_it_got(tmp_path):
    store = FrameStore(tmp_path)
    for seed in (1, 2):
        store.append(as_image(head_array(seed=seed)))
    np.testing.assert_array_equal(list(store.frames()), [head_array(seed=1), head_array(seed=2)])
    with pytest.raises(InputError, match="Frame 3"):
        store.append(as_image(head_array((4, 4, 4))))
    store.close()
    assert not list(tmp_path.iterdir())


def test_static_result_in_place_of_a_dynamic_one_has_not_its_sidecar(tmp_path, model):
    output, own = tmp_path / "out.nii.gz", tmp_path / "out.json"
    study = write_study(tmp_path / "pet.nii.gz", np.array([head_array(seed=index) for index in range(3)]))
    (tmp_path / "pet.json").write_text(json.dumps({"Units": "Bq/mL"}), encoding="utf-8")
    denoise_dynamic(FileRequest(study, output), MEAN, model)
    assert json.loads(own.read_text(encoding="utf-8"))["Units"] == "Bq/mL"
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "other.nii.gz"))
    request = FileRequest(tmp_path / "other.nii.gz", output, overwrite=True)
    denoise_files(request, MEAN, model)
    assert not own.exists() and read(output, "PET").unit == "unknown"
    own.write_text(json.dumps({"Units": "kBq/mL"}), encoding="utf-8")
    denoise_files(request, MEAN, model)
    assert own.exists(), "it is the user's"
