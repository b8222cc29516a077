"""The benchmark: what it measures must be the right thing; how fast it is depends on the machine."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conftest import as_image, head_array
from tiny_model import TINY, model_of, tiny_network

from CSRDDenoiseLib import resources
from CSRDDenoiseLib.commands.benchmark import _size
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.model.ddpmpp import DDPMpp3d
from CSRDDenoiseLib.research.benchmark import quality
from CSRDDenoiseLib.research.benchmark.head import synthetic_head
from CSRDDenoiseLib.research.benchmark.plain import plain_denoiser
from CSRDDenoiseLib.research.benchmark.probe import Convolution, probe_network
from CSRDDenoiseLib.scan import find_head


@pytest.mark.parametrize("size", [(48, 48, 48), (64, 64, 52)])
def test_the_head_takes_the_same_realistic_share_of_every_volume(size):
    pet, mr = (sitk.GetArrayFromImage(image) for image in synthetic_head(size, 4.0))
    head = find_head(pet, (4.0,) * 3)
    box = np.prod([part.stop - part.start for part in head.box]) / pet.size
    assert pet.shape == mr.shape == size[::-1]
    assert 0.3 < box < 0.6


@pytest.mark.parametrize("network", [tiny_network(), DDPMpp3d(in_channels=7, model_channels=8, channel_mult=(1, 1))])
def test_the_plain_way_computes_the_same_in_contiguous_tensors(network):
    model = model_of(network.requires_grad_(False), architecture=TINY)
    generator = torch.Generator().manual_seed(0)
    noisy, condition = (torch.randn(1, count, 16, 16, 24, generator=generator) for count in (1, 6))
    plain, sigma = plain_denoiser(model), torch.tensor([0.4])
    layouts = []
    for layer in plain.modules():
        if isinstance(layer, torch.nn.Conv3d):
            layer.register_forward_pre_hook(lambda _, inputs: layouts.append(inputs[0].is_contiguous()))
    torch.testing.assert_close(plain(noisy, sigma, condition), model.denoiser(noisy, sigma, condition))
    assert len(layouts) > 4 and all(layouts)


def test_operations_of_a_convolution_are_counted():
    convolution = Convolution((2, 3, 8, 8, 8), (5, 3, 3, 3, 3), True, (1, 1, 1), (1, 1, 1))
    assert convolution.operations == 2 * (2 * 8**3) * 5 * 3 * 27
    assert convolution.elements == 2 * 3 * 8**3 + 5 * 3 * 27 + 2 * 8**3 * 5
    halved = Convolution((1, 3, 8, 8, 8), (5, 3, 2, 2, 2), True, (2, 2, 2), (0, 0, 0))
    assert halved.output_voxels == 4**3


def test_slider_is_timed_beside_the_plain_filter_that_gives_the_same():
    from CSRDDenoiseLib.research.benchmark.keep import WIDTHS_MM, keep_case, keep_table

    run = keep_case({"size": [40, 44, 36]})
    assert [each["mm"] for each in run["widths"]] == list(WIDTHS_MM) and all(0 <= s < e for s, e in run["box"])
    assert all(each["off"] < 0.05 and each["plain"]["processor"] > 0 for each in run["widths"])
    table = keep_table({"runs": [run, {"skipped": "no memory"}]})
    assert len(table.rows) == len(WIDTHS_MM) and table.rows[0][0] == "40 x 44 x 36"


@pytest.mark.slow
def test_the_probe_sees_every_convolution():
    probe = probe_network(model_of(tiny_network(), architecture=TINY), 16)
    # entry 6^3 taps at half the sides, shrink, grow, exit, and three blocks of two
    at_half = 8**3 * (8 * 216 + 4 * 8 * 8 * 27 + 8 * 8 * 27)
    at_quarter = 4**3 * (8 * 8 * 8 + 2 * 8 * 8 * 27 + 8 * 64)
    assert probe["convolution_operations"] == 2 * (at_half + at_quarter)
    assert all(probe[name] > 0 for name in probe if name.endswith(("seconds", "second")))


@pytest.mark.parametrize("text, size", [("96", (96, 96, 96)), ("256x256x208", (256, 256, 208))])
def test_sizes_are_read(text, size):
    assert _size(text) == size


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a stage is read from /proc")
def test_the_command_measures_stages_beside_the_papers_setting(model_folder, tmp_path, capsys):
    path = tmp_path / "results.json"
    words = ["benchmark", "--size", "32", "--preset", "fast", "--model", str(model_folder), "--device", "cpu"]
    assert main([*words, "--output", str(path)]) == 0
    (entry,) = json.loads(path.read_text())["sizes"]
    run, paper = entry["runs"]["fast"], entry["paper"]
    stages = {"align", "normalise", "sample", "restore"}
    assert stages <= set(run["seconds"])
    assert set(run["peak_bytes"]) == stages | {"total"}
    assert all(10 << 20 < peak < 4 << 30 for peak in run["peak_bytes"].values())
    assert set(run["processor_seconds"]) == stages | {"total"}
    others = sum(run["seconds"][stage] for stage in stages - {"sample"})
    assert run["paper_seconds"] == pytest.approx(199 * paper["evaluation_seconds"] + others, rel=0.01)
    printed = capsys.readouterr().out
    assert "32 x 32 x 32" in printed and "199 evaluations, multiplied" in printed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a stage is read from /proc")
def test_a_study_is_measured_against_one_of_its_frames(model_folder, tmp_path, capsys):
    path = tmp_path / "results.json"
    words = ["benchmark", "--frames", "3", "--size", "32", "--preset", "fast", "--model", str(model_folder)]
    assert main([*words, "--device", "cpu", "--output", str(path)]) == 0
    (entry,) = json.loads(path.read_text())["studies"]
    frame, study = entry["frame"], entry["study"]
    assert (frame["frames_denoised"], study["frames_denoised"]) == (1, 3)
    for clock in ("seconds", "processor_seconds"):
        assert entry[f"times_in_{clock}"] == pytest.approx(study[clock] / frame[clock])
    assert entry["times_peak"] == pytest.approx(study["peak_bytes"] / frame["peak_bytes"])
    assert "3 of 3" in capsys.readouterr().out


def test_quality_is_measured_on_the_example_with_the_papers_setting(model_folder, tmp_path, monkeypatch):
    (tmp_path / "SampleData").mkdir()
    for seed, name in enumerate((resources.LOW_DOSE, resources.MR, resources.FULL_DOSE)):
        sitk.WriteImage(as_image(head_array(seed=seed)), str(tmp_path / "SampleData" / name))
    monkeypatch.setattr(quality, "resource_folder", lambda: tmp_path)
    monkeypatch.setattr(quality, "PAPER", replace(quality.PAPER, steps=2))
    request = {"model": str(model_folder), "device": "cpu"}
    fast, paper = (quality.quality_case({**request, "preset": preset}) for preset in ("fast", None))
    assert (fast["evaluations"], paper["evaluations"]) == (1, 3)
    assert fast["psnr_of_input_db"] == paper["psnr_of_input_db"]
    assert all(10 < run["psnr_db"] < 80 and run["seconds"] > 0 for run in (fast, paper))


def test_the_papers_network_keeps_nothing_between_evaluations():
    plain, settings = quality.as_in_the_paper(model_of(tiny_network(), architecture=TINY), "cpu")
    assert not hasattr(plain.denoiser.model, "prepare")
    assert (settings.evaluations, settings.sampler, settings.samples) == (199, "heun", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a stage is read from /proc")
def test_what_does_not_fit_is_reported_and_the_rest_is_measured(model_folder, monkeypatch):
    from CSRDDenoiseLib.research.benchmark import case

    monkeypatch.setattr(case, "free_bytes", lambda: 1 << 20)
    request = {"kind": "paper", "size": [64, 64, 64], "model": str(model_folder), "device": "cpu"}
    monkeypatch.setattr(sys, "argv", ["case", json.dumps(request)])
    printed: list[str] = []
    monkeypatch.setattr("builtins.print", printed.append)
    case.main()
    assert "GiB are free" in json.loads(printed[0])["skipped"]
