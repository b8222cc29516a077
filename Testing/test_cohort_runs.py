"""Whole cohorts on real processes and files: workers and schedulers that end, memory that is used up, interrupts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import SimpleITK as sitk
from bids_dataset import write_dataset
from cohort_folder import write_cohort, write_huge
from conftest import ONE_THREAD, as_image, free_port, head_array

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.alone import alone
from CSRDDenoiseLib.cluster.cohort.rows import LOCK
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import FileRequest, denoise_files
from CSRDDenoiseLib.settings import DenoiseSettings

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")]
SETTINGS = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", precision="float32")
QUICK = ("--preset", "fast", "--device", "cpu", "--precision", "float32", "--progress", "json")
PATIENCE = 300
"""Seconds after which a process that hangs fails its test."""


@contextmanager
def started(*words: object):
    """``csrd-denoise`` as a process."""
    command = [sys.executable, "-m", "CSRDDenoiseLib", *map(str, words)]
    with subprocess.Popen(
        command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def cohort(table: Path, output: Path, model: Path, *more: object):
    return started("cohort", table, "--output", output, "--model", model, *QUICK, *more)


def finish(process: subprocess.Popen) -> tuple[list[dict], str]:
    """Return the JSON lines and what was said, once the process has ended."""
    out, err = process.communicate(timeout=PATIENCE)
    return [json.loads(line) for line in out.splitlines()], err


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The worker processes of a cohort."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def single_runs(folder: Path, names: list[str], model: Path, output: Path) -> dict[str, bytes]:
    """File -> content of the outputs of one run a scan, in this process."""
    found = {}
    for name in names:
        (output / name).mkdir(parents=True)
        paths = {each: output / name / f"{each}.nii.gz" for each in ("denoised", "difference")}
        pet, mr = folder / f"pet{name}.nii.gz", folder / "mr.nii.gz"
        settings = DenoiseSettings(**{**SETTINGS.as_dict(), "seed": int(name)})
        denoise_files(FileRequest(pet, paths["denoised"], mr, difference=paths["difference"]), settings, model)
        found.update({f"{name}/{path.name}": path.read_bytes() for path in paths.values()})
    return found


def lengthen(table: Path, name: str) -> Path:
    """Write the table with many draws for one scan, which is not over when an interrupt comes; return the new table."""
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    many = {True: "quality\t1000\t1000", False: "\t\t"}
    lines = [f"{header}\tpreset\tsteps\tsamples", *(f"{row}\t{many[row.startswith(name)]}" for row in rows)]
    longer = table.with_name("longer.tsv")
    longer.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return longer


def outputs_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.nii.gz")}


def test_killed_worker_and_scan_that_uses_up_the_memory(tmp_path, model_folder):
    """Eleven scans are those of single runs, byte for byte; the twelfth is named; a rerun does only that one."""
    table, output = write_cohort(tmp_path / "in", 12), tmp_path / "out"
    write_huge(tmp_path / "in" / "pet05.nii.gz")
    where = ("--workers", 2, "--memory", 3)
    with cohort(table, output, model_folder, *where) as process:
        first = json.loads(process.stdout.readline())
        killed = workers_of(process)
        assert len(killed) == 2
        killed[-1].kill()
        lines, err = finish(process)
        assert process.returncode == 4, err
    lines = [first, *lines]
    assert sorted(line["scan"]["name"] for line in lines) == [f"{number:02d}" for number in range(12)]
    (failed,) = [line["scan"] for line in lines if line["scan"]["status"] == "failed"]
    assert failed["name"] == "05" and "2 times" in failed["error"] and "05" in err
    names = [f"{number:02d}" for number in range(12) if number != 5]
    assert outputs_of(output) == single_runs(tmp_path / "in", names, model_folder, tmp_path / "single")
    assert not list(output.rglob(".*")), "leftovers"

    sitk.WriteImage(as_image(head_array(seed=5)), str(tmp_path / "in" / "pet05.nii.gz"))
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.nii.gz")}
    with cohort(table, output, model_folder, "--workers", 1) as process:
        lines, err = finish(process)
        assert process.returncode == 0, err
    assert [line["scan"]["name"] for line in lines if not line["kept_as_it_was"]] == ["05"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (output / "05" / "denoised.nii.gz").exists()
    assert "12 scans" in (output / "cohort.html").read_text(encoding="utf-8")
    assert len((output / "cohort.tsv").read_text(encoding="utf-8").splitlines()) == 13


def test_interrupted_cohort_goes_on_where_it_was(tmp_path, model_folder):
    table, output = write_cohort(tmp_path / "in", 8), tmp_path / "out"
    endless = lengthen(table, "04")
    with cohort(endless, output, model_folder, "--workers", 1) as process:
        done = {json.loads(process.stdout.readline())["scan"]["name"] for _ in range(2)}
        process.send_signal(signal.SIGINT)
        lines, err = finish(process)
        assert process.returncode == 3 and "the same command" in err
        done |= {line["scan"]["name"] for line in lines if "scan" in line}
    assert 2 <= len(done) < 8
    with cohort(table, output, model_folder, "--workers", 1) as process:
        lines, err = finish(process)
        assert process.returncode == 0, err
    kept = {line["scan"]["name"] for line in lines if line["kept_as_it_was"]}
    # a scan may have ended between the last line and the interrupt
    assert done <= kept and len(kept) < 8 and len(lines) == 8
    names = [f"{number:02d}" for number in range(8)]
    assert outputs_of(output) == single_runs(tmp_path / "in", names, model_folder, tmp_path / "single")


def test_changed_scan_and_changed_setting_are_done_again_only_if_asked(tmp_path, model_folder):
    table, output = write_cohort(tmp_path / "in", 2), tmp_path / "out"
    with cohort(table, output, model_folder, "--workers", 1) as process:
        assert finish(process) and process.returncode == 0
    sitk.WriteImage(as_image(head_array(seed=77)), str(tmp_path / "in" / "pet01.nii.gz"))
    with cohort(table, output, model_folder, "--workers", 1) as process:
        lines, _ = finish(process)
        assert process.returncode == 4
    found = {line["scan"]["name"]: line for line in lines}
    assert found["00"]["kept_as_it_was"] and "--overwrite" in found["01"]["scan"]["error"]
    with cohort(table, output, model_folder, "--workers", 1, "--overwrite") as process:
        lines, _ = finish(process)
        assert process.returncode == 0
    assert [line["scan"]["name"] for line in lines if not line["kept_as_it_was"]] == ["01"]


def test_maps_of_a_former_run_go_with_it(tmp_path, model_folder):
    table, output = write_cohort(tmp_path / "in", 1), tmp_path / "out"
    with cohort(table, output, model_folder, "--workers", 1, "--maps", "difference", "bare") as process:
        assert finish(process) and process.returncode == 0
    assert (output / "00" / "bare.nii.gz").is_file()
    again = ("--workers", 1, "--maps", "support", "--seed", 5, "--overwrite")
    with cohort(table, output, model_folder, *again) as process:
        assert finish(process) and process.returncode == 0
    assert sorted(path.name for path in (output / "00").glob("*.nii.gz")) == ["denoised.nii.gz", "support.nii.gz"]


@pytest.mark.parametrize("send", [(), ("--send",)])
def test_overwriting_removes_nothing_that_no_run_wrote(tmp_path, model_folder, send):
    table, own = write_cohort(tmp_path, 1), tmp_path / "00"
    own.mkdir()
    (tmp_path / "pet00.nii.gz").rename(own / "support.nii.gz")
    table.write_text(table.read_text(encoding="utf-8").replace("pet00", "00/support"), encoding="utf-8")
    kept = [own / "support.nii.gz", own / "denoised" / "notes.txt", own / "bare.json", own / "bare.nii.gz"]
    for path in kept[1:]:
        path.parent.mkdir(exist_ok=True)
        path.write_text("of the user", encoding="utf-8")
    for more in (("difference",), ("--seed", 5, "--overwrite")):
        with cohort(table, tmp_path, model_folder, "--workers", 1, *send, "--maps", *more) as process:
            assert finish(process) and process.returncode == 0
    assert all(path.exists() for path in kept) and not (own / "difference.nii.gz").exists()


def test_scheduler_that_ends_in_the_middle_and_comes_back(tmp_path, model_folder):
    table, output, address = write_cohort(tmp_path / "in", 10), tmp_path / "out", f"tcp://127.0.0.1:{free_port()}"
    serving = ("worker", address, "--model", model_folder, "--device", "cpu", "--start-scheduler", "--threads", 1)
    with started(*serving) as first:
        assert "worker(s)" in first.stderr.readline()
        with cohort(table, output, model_folder, "--scheduler", address) as process:
            done = [json.loads(process.stdout.readline()) for _ in range(2)]
            first.kill()
            first.wait()
            with started(*serving) as second:
                lines, err = finish(process)
                second.send_signal(signal.SIGINT)
                second.communicate(timeout=PATIENCE)
            assert process.returncode == 0, err
    names = [line["scan"]["name"] for line in [*done, *lines]]
    assert sorted(names) == [f"{number:02d}" for number in range(10)] and "lost" in err
    assert outputs_of(output) == single_runs(tmp_path / "in", sorted(names), model_folder, tmp_path / "single")


def test_files_that_travel_give_the_same(tmp_path, model_folder):
    table, output = write_cohort(tmp_path / "in", 3), tmp_path / "out"
    with cohort(table, output, model_folder, "--workers", 1, "--send", "--report") as process:
        lines, err = finish(process)
        assert process.returncode == 0, err
    names = ["00", "01", "02"]
    assert outputs_of(output) == single_runs(tmp_path / "in", names, model_folder, tmp_path / "single")
    record = json.loads((output / "01" / "denoised_provenance.json").read_text(encoding="utf-8"))
    assert record["outputs"]["denoised"] == str(output / "01" / "denoised.nii.gz")
    assert (output / "01" / "denoised.html").exists() and (output / "cohort" / "thumbnails" / "01.png").exists()
    assert "01/denoised.html" in (output / "cohort.html").read_text(encoding="utf-8")
    # one changes meanwhile: it is not replaced unless that is asked for
    sitk.WriteImage(as_image(head_array(seed=77)), str(tmp_path / "in" / "pet01.nii.gz"))
    before = outputs_of(output)
    with cohort(table, output, model_folder, "--workers", 1, "--send", "--report") as process:
        lines, _ = finish(process)
        assert process.returncode == 4
    found = {line["scan"]["name"]: line for line in lines}
    assert found["00"]["kept_as_it_was"] and found["02"]["kept_as_it_was"] and len(found) == 3
    assert "--overwrite" in found["01"]["scan"]["error"] and outputs_of(output) == before


def sidecars_of(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("sub-*.json") if "_provenance" not in path.name and "rows" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


def test_bids_dataset_on_workers_that_see_it_and_that_do_not(tmp_path, model_folder, mr):
    root, sent = write_dataset(tmp_path / "raw", mr), tmp_path / "sent"
    words = ("cohort", "--bids", root, "--model", model_folder, "--workers", 1, *QUICK)
    with started(*words, "--output", tmp_path / "out") as process, started(*words, "--output", sent, "--send") as other:
        (lines, err), (_, err_sent) = finish(process), finish(other)
        assert process.returncode == 0, err
        assert other.returncode == 0, err_sent
    assert outputs_of(sent) == outputs_of(tmp_path / "out") and len(outputs_of(sent)) == 8
    assert sidecars_of(sent) == sidecars_of(tmp_path / "out") and len(sidecars_of(sent)) == 8
    assert "bids:raw:sub-01/pet/sub-01_trc-FDG_run-1_pet.nii.gz" in "".join(sidecars_of(sent).values())
    assert lines and all(Path(line["scan"]["outputs"]["denoised"]).is_relative_to(tmp_path / "out") for line in lines)
    described = json.loads((tmp_path / "out" / "dataset_description.json").read_text(encoding="utf-8"))
    assert described["DatasetLinks"]["raw"] == "../raw"
    assert all(
        path.with_name(path.name.replace(".nii.gz", ".json")).exists() for path in (tmp_path / "out").rglob("*.nii.gz")
    )


def test_jobs_of_an_array_with_other_participants_share_a_folder(tmp_path, model_folder, mr):
    root, output = write_dataset(tmp_path / "raw", mr), tmp_path / "out"
    words = ["cohort", "--bids", root, "--output", output, "--model", model_folder, "--workers", 1, *QUICK]
    with alone(output / f"{LOCK}-01", "Another job", output):
        assert main([*map(str, words), "--participant-label", "01", "02"]) == 2
        assert main([*map(str, words)]) == 2
        assert not outputs_of(output)
        assert main([*map(str, words), "--participant-label", "02"]) == 0
    assert outputs_of(output) and all("sub-02" in name for name in outputs_of(output))
