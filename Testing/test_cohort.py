"""The parts of a cohort: which scans, which workers, what is done, whose fault a death is, what to look at first."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import SimpleITK as sitk
from cohort_folder import write_cohort
from conftest import as_image, head_array

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.cluster.cohort.lost_workers import LostWorkers
from CSRDDenoiseLib.cluster.cohort.rows import DONE, FAILED, RUNNING, Row, digest_of_file, is_done, read_row, write_row
from CSRDDenoiseLib.cluster.cohort.scans import Choices, scans_of_bids, scans_of_table, value_of
from CSRDDenoiseLib.cluster.cohort.show import shown
from CSRDDenoiseLib.cluster.cohort.sizes import extent_of, planned_bytes
from CSRDDenoiseLib.cluster.cohort.state import State
from CSRDDenoiseLib.cluster.cohort.summary import LEAST_SCANS, lines_of, write_summary
from CSRDDenoiseLib.cluster.cohort.thumbnail import SIDE, write_thumbnail
from CSRDDenoiseLib.cluster.jobs import Job, job_of_message, key_of
from CSRDDenoiseLib.cluster.local import LEAST_MEMORY, Machine, plan_workers
from CSRDDenoiseLib.cluster.model_key import ModelKey
from CSRDDenoiseLib.cluster.parcels import Parcel, deliver, digest_of, digests_of, pack_inputs, unpack
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError, PlaceError
from CSRDDenoiseLib.progress import Progress
from CSRDDenoiseLib.run.request import FileRequest
from CSRDDenoiseLib.settings import DenoiseSettings

GIB = 1 << 30
MODEL = ModelKey("tiny", "/nowhere", "0" * 64)
CHOICES = Choices(Path("out"), DenoiseSettings(samples=4))


# -- which scans


def test_columns_override_settings_of_their_row(tmp_path):
    table = write_cohort(tmp_path, 2)
    lines = table.read_text(encoding="utf-8").splitlines()
    wide = [
        f"{lines[0]}\tpreset\tkeep_above_mm\tpatch_size\tregister",
        f"{lines[1]}\tfast\tinf\t8x8x12\ttrue",
        lines[2],
    ]
    table.write_text("\n".join([*wide[:2], f"{wide[2]}\t\t1/4\t\t"]) + "\n", encoding="utf-8")
    first, second = scans_of_table(table, CHOICES)
    assert (first.settings.sampler, first.settings.keep_above_mm) == ("mean", float("inf"))
    assert first.settings.patch_size == (8, 8, 12) and first.settings.register and first.settings.seed == 0
    assert first.request.uncertainty is None and second.request.uncertainty is not None
    assert (second.settings.samples, second.settings.seed, second.settings.keep_above_mm) == (4, 1, 0.25)


def test_everything_that_is_wrong_is_reported_at_once(tmp_path):
    table = write_cohort(tmp_path, 3)
    text = table.read_text(encoding="utf-8").replace("\t0\n", "\tmany\n").replace("\t2\n", "\t-1\n")
    table.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        scans_of_table(table, CHOICES)
    assert "line 2" in str(caught.value) and "line 4" in str(caught.value) and "line 3" not in str(caught.value)


def test_scans_of_one_name_are_refused(tmp_path):
    table = write_cohort(tmp_path, 2)
    table.write_text(table.read_text(encoding="utf-8").replace("01\tpet", "0/0\tpet").replace("00\tpet", "0-0\tpet"))
    with pytest.raises(InputError, match="'0-0'"):
        scans_of_table(table, CHOICES)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("3", 3), ("0.5", 0.5), ("1/8", 0.125), ("4x5x6", (4, 5, 6)), ("heun", "heun")]
)
def test_cells_are_values(text, value):
    assert value_of(text) == value and type(value_of(text)) is type(value)


def test_bids_dataset_gives_its_own_names(tmp_path):
    folder = tmp_path / "raw" / "sub-01" / "ses-a" / "pet"
    folder.mkdir(parents=True)
    sitk.WriteImage(as_image(head_array()), str(folder / "sub-01_ses-a_pet.nii.gz"))
    (scan,) = scans_of_bids(tmp_path / "raw", (), replace(CHOICES, output=tmp_path / "out"))
    assert scan.name == "sub-01_ses-a"
    place = tmp_path / "out" / "sub-01" / "ses-a" / "pet" / "sub-01_ses-a_desc-denoised_pet.nii.gz"
    assert scan.request.output == place and scan.bids["folder"] == str(tmp_path / "out")


# -- which workers


def test_workers_are_as_many_as_cores_if_memory_bears_it():
    plans = plan_workers(Machine(8, 64 * GIB), [2.0 * GIB] * 20)
    assert len(plans) == 8 and {plan.threads for plan in plans} == {1}
    assert sum(plan.memory for plan in plans) <= 64 * GIB


def test_one_large_scan_gets_one_large_worker():
    plans = plan_workers(Machine(8, 16 * GIB), [1.0 * GIB] * 30 + [9.0 * GIB])
    assert plans[0].memory >= 9 * GIB > max(plan.memory for plan in plans[1:]) >= GIB
    assert len(plans) == 8 and sum(plan.memory for plan in plans) <= 16 * GIB


def test_little_memory_makes_few_workers_with_more_threads():
    plans = plan_workers(Machine(8, 5 * GIB), [2.0 * GIB] * 30)
    assert len(plans) == 2 and plans[0].threads == 4
    assert len(plan_workers(Machine(8, GIB // 2), [2.0 * GIB] * 3)) == 1


def test_one_process_a_gpu():
    plans = plan_workers(Machine(16, 64 * GIB, gpus=4), [1.0 * GIB] * 30)
    assert [plan.gpu for plan in plans] == [0, 1, 2, 3] and plans[0].threads == 4
    assert plans[3].options["env"] == {"CUDA_VISIBLE_DEVICES": "3"}
    assert len(plan_workers(Machine(16, 64 * GIB, gpus=4), [1.0 * GIB])) == 1


def test_asked_for_workers_have_memory_to_start():
    plans = plan_workers(Machine(2, 3 * GIB), [0.8 * GIB] * 11 + [4.0 * GIB], wanted=2)
    assert [plan.threads for plan in plans] == [1, 1] and min(plan.memory for plan in plans) >= LEAST_MEMORY
    assert plans[0].memory > plans[1].memory


def test_memory_grows_with_the_field_of_view(model_folder, tmp_path):
    from CSRDDenoiseLib.model.bundle import read_metadata

    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii.gz"))
    assert extent_of(tmp_path / "pet.nii.gz") == (52.0, 56.0, 48.0)
    metadata, settings = read_metadata(model_folder), DenoiseSettings()
    small, large = (planned_bytes((side,) * 3, metadata, settings) for side in (200.0, 600.0))
    assert small < GIB < large
    assert extent_of(tmp_path / "nothing.nii.gz")


# -- what is done


def test_done_means_outputs_and_the_very_record(tmp_path):
    record, output = tmp_path / "a_provenance.json", tmp_path / "a.nii.gz"
    record.write_text("{}"), output.write_text("image")
    row = Row("a", "key", DONE, str(record), digest_of_file(record), {"denoised": str(output)})
    write_row(row, tmp_path)
    assert read_row(tmp_path, "a") == row and is_done(row, "key")
    assert not is_done(row, "other key") and not is_done(replace(row, status=RUNNING), "key")
    assert not is_done(None, "key") and read_row(tmp_path, "b") is None
    record.write_text('{"of": "another run"}')
    assert not is_done(row, "key")
    record.write_text("{}"), output.unlink()
    assert not is_done(row, "key")


def test_key_follows_from_inputs_settings_model_and_outputs(tmp_path):
    def key(digest="d", model=MODEL, name="out.nii.gz", **settings):
        request = FileRequest(
            tmp_path / "pet.nii.gz", tmp_path / name, overwrite=bool(settings.pop("overwrite", False))
        )
        return key_of({"pet": digest}, Job.of("x", request, DenoiseSettings(**settings), model))

    keys = {key(), key(digest="e"), key(model=replace(MODEL, digest="1" * 64)), key(name="out.nrrd"), key(seed=1)}
    assert len(keys) == 5
    assert key() == key(overwrite=True) == key(model=replace(MODEL, folder="/elsewhere"))


def test_checksum_covers_the_sidecar_and_not_the_place(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        sitk.WriteImage(as_image(head_array()), str(tmp_path / name / "pet.nii.gz"))
    one, two = (digest_of(tmp_path / name / "pet.nii.gz", "PET") for name in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "pet.json").write_text("{}")
    assert digest_of(tmp_path / "two" / "pet.nii.gz", "PET") != one


# -- what is sent


def test_job_is_checked_where_it_arrives(tmp_path):
    request = FileRequest(tmp_path / "pet.nii.gz", tmp_path / "out.nii.gz", frames="2-")
    job = Job.of("x", request, DenoiseSettings(seed=3), MODEL)
    assert job_of_message(job.as_message()) == job and job.denoise_settings.seed == 3
    assert job.request() == request
    for wrong in ({"settings": {"steps": "all"}}, {"paths": {"pet": 3}}, {"options": {"code": "x"}}, {"eval": "x"}):
        with pytest.raises(InputError):
            job_of_message({**job.as_message(), **wrong}).denoise_settings.evaluations / 0


def test_job_holds_every_field_of_a_request(tmp_path):
    named = {*Job.of("x", FileRequest("pet", "out"), DenoiseSettings(), MODEL).options, "headers", "origin"}
    paths = {field.name for field in fields(FileRequest)} - named
    request = FileRequest(**{name: tmp_path / name for name in paths}, headers=(tmp_path / "b", tmp_path / "a"))
    job = Job.of("x", request, DenoiseSettings(), MODEL)
    assert job.request() == request and job_of_message(job.as_message()) == job
    for name in "ab":
        (tmp_path / name).write_text(name)
    parcel = pack_inputs({}, request.headers)
    assert [parcel.files[name] for name in sorted(parcel.files)] == [b"b", b"a"]
    assert digests_of({}, request.headers) != digests_of({}, request.headers[::-1])


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", "C:\\x", ""])
def test_parcel_cannot_leave_its_folder(name, tmp_path):
    with pytest.raises(PlaceError):
        unpack(Parcel({name: b"x"}), tmp_path / "in")


def test_inherited_sidecars_travel_with_the_scan(tmp_path):
    folder = tmp_path / "raw" / "sub-01" / "pet"
    folder.mkdir(parents=True)
    (tmp_path / "raw" / "pet.json").write_text('{"Units": "Bq/mL", "TracerName": "FDG"}')
    (folder / "sub-01_pet.json").write_text('{"TracerName": "PIB"}')
    sitk.WriteImage(as_image(head_array()), str(folder / "sub-01_pet.nii.gz"))
    parcel = pack_inputs({"pet": folder / "sub-01_pet.nii.gz"})
    from CSRDDenoiseLib.io.sidecar import read_sidecar

    found = unpack(parcel, tmp_path / "there")["pet"]
    assert read_sidecar(found, "PET")[0] == {"Units": "Bq/mL", "TracerName": "PIB"}


def test_only_what_was_asked_for_is_delivered(tmp_path):
    parcel = Parcel({"output/out.nii.gz": b"image", "output/.profile": b"evil", "elsewhere/x": b"evil"})
    deliver(parcel, {"output/out.nii.gz": tmp_path / "out.nii.gz", "output/out.json": tmp_path / "out.json"})
    assert [path.name for path in tmp_path.iterdir()] == ["out.nii.gz"]


# -- which scan a lost worker counts for


def test_a_lost_worker_does_not_count_for_a_scan_that_only_waited():
    lost = LostWorkers({})

    def begins(name):
        lost.on_event({"scan": name, "event": "started", "host": "here"})

    begins("bad")
    assert not lost.is_over_limit("bad") and not lost.is_over_limit("waited")
    begins("bad")
    assert lost.is_over_limit("bad") and not lost.is_over_limit("waited") and not lost.began_over_limit("bad")
    begins("bad")
    assert lost.began_over_limit("bad")
    assert "2 times" in lost.row("bad").error


def test_scan_that_ended_is_not_counted():
    lost, active = LostWorkers(found := {}), found
    for event in ("started", "ended", "started", "ended", "started"):
        lost.on_event({"scan": "a", "event": event, "host": "here"})
    assert not lost.is_over_limit("a") and active == {"a": (None, "here")}


# -- what to look at first


def rows_of_noise(values):
    return [Row(f"{index:02d}", status=DONE, noise_after_percent=value) for index, value in enumerate(values)]


def test_failed_and_far_scans_come_first():
    rows = rows_of_noise([5.0, 5.1, 4.9, 5.2, 9.0, 5.0, 4.8, 5.1, 5.0])
    rows += [Row("zz", status=FAILED, error="no head"), replace(rows[0], name="warned", codes=("head.small",))]
    names = [line.row.name for line in lines_of(rows)]
    assert names[:3] == ["zz", "04", "warned"]
    assert [line.row.name for line in lines_of(rows) if line.is_outlier] == ["04"]


def test_few_scans_have_no_outliers():
    assert not any(line.is_outlier for line in lines_of(rows_of_noise([5.0] * (LEAST_SCANS - 2) + [50.0])))


def test_page_and_table_say_the_same_and_no_text_becomes_markup(tmp_path):
    pet, change = as_image(head_array()), as_image(0.1 * head_array(seed=1))
    (tmp_path / "cohort" / "thumbnails").mkdir(parents=True)
    write_thumbnail(pet, change, tmp_path / "cohort" / "thumbnails" / "a.png")
    rows = [
        Row("a", status=DONE, noise_before_percent=12.5, outputs={"denoised": str(tmp_path / "a" / "denoised.nii.gz")}),
        Row("<b>", status=FAILED, error="line\tone\n<script>"),
    ]
    table, page = write_summary(rows, tmp_path, {"model": "tiny"})
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    assert len({len(line) for line in lines}) == 1 and [line[0] for line in lines[1:]] == ["<b>", "a"]
    assert dict(zip(lines[0], lines[2]))["denoised"] == "a/denoised.nii.gz"
    html = page.read_text(encoding="utf-8")
    assert "12.5" in html and "<script>" not in html and html.count("data:image/png;base64,") == 1


def test_thumbnail_shows_head_upright(tmp_path):
    values = head_array((30, 20, 24)) * 0
    values[20:26, 8:12, 4:8] = 1000.0  # towards the top, in front of the middle and to the right
    write_thumbnail(as_image(values), as_image(values * 0), tmp_path / "t" / "a.png")
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "t" / "a.png")))
    assert picture.shape == (3 * SIDE, 3 * SIDE)
    coronal = picture[SIDE : 2 * SIDE, SIDE : 2 * SIDE]
    bright = (coronal > 128).nonzero()
    assert bright[0].mean() < SIDE / 2 and bright[1].mean() < SIDE / 2


# -- what is shown while it runs


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def in_the_middle(monkeypatch):
    """A state after a minute on a clock that stands."""
    monkeypatch.setattr("CSRDDenoiseLib.cluster.cohort.state.time", SimpleNamespace(monotonic=lambda: 60.0))
    rows = {"a": Row("a", status=DONE), "b": Row("b", status=FAILED, error="no head")}
    state = State(4, rows=rows, done_before={"a"}, began=0.0)
    state.active["c"] = (Progress("sample", 1, 4, 0.3), "gpu-box")
    state.active["d"] = (None, "gpu-box")
    return state


def test_terminal_has_a_live_table(in_the_middle):
    stream = Terminal()
    with shown("bar", stream) as show:
        show(in_the_middle, None)
    text = stream.getvalue()
    assert all(word in text for word in ("2 of 4", "sample", "gpu-box", "no head", "60 scans/h", "2 min"))


def test_file_has_a_line_a_scan(in_the_middle):
    stream, state = io.StringIO(), in_the_middle
    with shown("bar", stream) as show:
        show(state, None)
        for row in state.rows.values():
            show(state, row)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "a: was done" in lines[0] and "b: failed: no head" in lines[1]


def test_json_has_a_line_a_scan(capsys, in_the_middle):
    state = in_the_middle
    with shown("json", io.StringIO()) as show:
        show(state, None)
        show(state, state.rows["a"])
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert line["scan"]["name"] == "a" and line["kept_as_it_was"] and (line["done"], line["failed"]) == (1, 1)
    assert line["remaining_seconds"] == 120 and line["active"]["c"]["fraction"] == 0.3


# -- how many GPUs


def test_gpus_for_twice_the_scans_are_twice_as_many(model_folder):
    from CSRDDenoiseLib.model.bundle import load_model
    from CSRDDenoiseLib.research.benchmark.need import Cost, need_table

    model, cost = load_model(model_folder, "cpu"), Cost(3e5, 3e5, 1e-6, 5e-7)
    once, twice = (need_table(model, cost, scans, ["fast"]) for scans in (10_000, 20_000))
    hours = [float(table.rows[-1][3].split()[0]) for table in (once, twice)]
    assert hours[1] == pytest.approx(2 * hours[0], rel=0.05)
    # 1.8 million voxels of the field, 14.4 million of the file, and a network that takes next to nothing
    assert float(once.rows[-1][2].split()[0]) == pytest.approx(1.8 + 7.2, abs=0.6)


# -- the command


def test_help_loads_no_dask():
    code = "import sys; from CSRDDenoiseLib.commands.main import _parser; _parser(['cohort']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"distributed", "torch", "SimpleITK"} & set(done.stdout.split())


def test_bad_usage_is_one_sentence(tmp_path, capsys, model_folder):
    table = write_cohort(tmp_path / "in", 1)
    words = ["cohort", "--output", str(tmp_path / "out"), "--model", str(model_folder)]
    for more, said in (
        ([], "--bids"),
        ([str(table), "--bids", str(tmp_path)], "--bids"),
        ([str(table), "--scheduler", "tcp://192.0.2.1:8786"], "--insecure"),
        ([str(table), "--scheduler", "tls://gpu-box:8786"], "--tls"),
        ([str(table), "--cluster", str(tmp_path / "none.yaml")], "none.yaml"),
        (["--bids", str(tmp_path), "--report"], "--report"),
        ([str(tmp_path / "none.tsv")], "none.tsv"),
    ):
        assert main([*words, *more]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "cohort.tsv").exists()
