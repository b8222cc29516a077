"""Training: the split, exact resume (also after a kill), the log, and a model folder that loads."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import build_network, load_model, read_metadata
from CSRDDenoiseLib.model.edm import Preconditioned
from CSRDDenoiseLib.model.metadata import CHANNELS
from CSRDDenoiseLib.prepare.scheme import make_condition
from CSRDDenoiseLib.research.training.checkpoint import load_checkpoint, milestones_in
from CSRDDenoiseLib.research.training.config import load_config
from CSRDDenoiseLib.research.training.export import export_model
from CSRDDenoiseLib.research.training.loop import TrainingRun, measure_sigma_data
from CSRDDenoiseLib.research.training.noise_range import noise_range
from CSRDDenoiseLib.research.training.objective import denoising_loss, learning_rate_factor
from CSRDDenoiseLib.research.training.patches import PatchSource
from CSRDDenoiseLib.research.training.readiness import claim_pool
from CSRDDenoiseLib.research.training.split import load_or_make_split, load_split
from CSRDDenoiseLib.resources import resource_folder
from CSRDDenoiseLib.scan import Scan, noise_level, spread_positions

pytestmark = pytest.mark.slow

nibabel = pytest.importorskip("nibabel")
CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@pytest.fixture
def config(training_config):
    return training_config


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.denoiser.parameters()])


def test_subjects_are_split_once_and_by_source(tmp_path):
    subjects = [f"a/{n}" for n in range(20)] + [f"b/{n}" for n in range(10)]
    path = tmp_path / "split.json"
    split = load_or_make_split(path, subjects, (0.7, 0.1, 0.2), seed=1)
    assert sorted(name for part in split.values() for name in part) == sorted(subjects)
    assert [len([n for n in split[part] if n.startswith("a/")]) for part in ("train", "validation", "test")] == [
        14,
        2,
        4,
    ]
    assert load_or_make_split(path, subjects[:3], (0.1, 0.1, 0.8), seed=2) == split


@pytest.mark.slow
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(config, tmp_path):
    whole = TrainingRun(replace(config, milestones=(2, 6)))
    whole.run()
    milestones = milestones_in(config.output)
    assert list(milestones) == [2, 6]
    for name, value in load_file(milestones[6]).items():
        torch.testing.assert_close(value, whole.average.model.state_dict()[name].half())
    first = TrainingRun(replace(config, output=tmp_path / "parts"))
    claim_pool(first.pool)
    first._wait_for_pool()
    first._build()
    for _ in range(3):
        first._step()
        first.state.step += 1
    first._checkpoint([], 1.0)
    second = TrainingRun(replace(config, output=tmp_path / "parts"))
    assert second.run().step == 6
    torch.testing.assert_close(weights(second), weights(whole), rtol=0, atol=0)


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint(config):
    script = (
        "import dataclasses, pathlib, sys\n"
        "from CSRDDenoiseLib.research.training.config import TrainingConfig\n"
        "from CSRDDenoiseLib.research.training.loop import TrainingRun\n"
        "values = eval(sys.argv[1], {'pathlib': pathlib})\n"
        "TrainingRun(TrainingConfig(**values)).run()\n"
    )
    values = {**vars(config), "steps": 100000, "checkpoint_minutes": 0.0}
    text = repr(values).replace("PosixPath", "pathlib.PosixPath")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, text], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while not (config.output / "checkpoint.pt").is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = load_checkpoint(config.output)["state"]["step"]
    assert step >= 1
    assert TrainingRun(replace(config, steps=step + 1)).run().step == step + 1


@pytest.mark.slow
def test_the_budget_of_minutes_is_kept_and_the_log_describes_the_run(config):
    # the phantoms are there before the time runs
    TrainingRun(replace(config, steps=1)).run()
    state = TrainingRun(replace(config, steps=10**6)).run(minutes=0.03)
    assert 1 < state.step < 10**5
    logged = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    assert set(logged[-1]["psnr"]) == {"input 1/4", "input 1/8", "mean 1/4", "mean 1/8"}
    assert {"psnr", "psnr_full"} <= set(logged[-1])


@pytest.mark.slow
def test_doses_that_are_no_whole_fractions_are_validated_apart(config):
    run = TrainingRun(replace(config, steps=1, doses=(2 / 3, 1 / 2), unseen_doses=()))
    run.run()
    logged = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    assert set(logged[-1]["psnr"]) == {"input 2/3", "input 1/2", "mean 2/3", "mean 1/2"}
    assert "dose 2/3, 1/2 " in export_model(run.config, config.output / "model").description


@pytest.mark.slow
def test_training_learns_the_residual(config):
    config = replace(config, doses=(1 / 200,), steps=250, warmup=10, regression_share=0.0, learning_rate=5e-3)
    run = TrainingRun(config)
    run.run()
    fresh = Preconditioned(build_network(config.architecture), run.state.sigma_data)

    def loss(denoiser):
        batches = [run.source.batch(step, 2) for step in range(1000, 1010)]
        with torch.no_grad():
            return sum(float(denoising_loss(denoiser, batch, run.state.sigma_data)) for batch in batches)

    assert loss(run.average) < 0.9 * loss(fresh)


@pytest.mark.slow
def test_the_model_of_a_run_loads_and_knows_its_noise_levels(config, tmp_path):
    run = TrainingRun(config)
    run.run()
    export_model(config, tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.metadata.sigma_data == pytest.approx(measure_sigma_data(run.pool, 2))
    assert model.metadata.dose_range == (1 / 8, 1 / 4) and model.metadata.mr_optional
    assert model.metadata.extra["noise_level_range"] == noise_range(run.pool) != {}
    for mine, stored in zip(run.average.parameters(), model.denoiser.parameters()):
        torch.testing.assert_close(mine, stored, rtol=1e-3, atol=1e-6)
    assert not set(model.metadata.training["split"]["test"]) & set(model.metadata.training["split"]["train"])


@pytest.mark.slow
def test_phantoms_of_a_dose_range_have_doses_of_their_own(config, tmp_path):
    config = replace(config, doses=(1 / 2, 1 / 5, 1 / 20), dose_range=(1 / 20, 1 / 2), steps=1)
    run = TrainingRun(config)
    parts = np.geomspace(1 / 20, 1 / 2, 4)
    drawn = [run.pool.doses_of(phantom) for phantom in range(50)]
    assert all(low * 0.99 < dose < high * 1.01 for doses in drawn for dose, low, high in zip(doses, parts, parts[1:]))
    assert len(set(drawn)) == 50 and drawn == [run.pool.doses_of(phantom) for phantom in range(50)]
    run.run()
    assert run.pool.available() == 2
    first = run.pool.load(0, drawn[0][0]), run.pool.load(0, drawn[0][2])
    assert np.std(first[0].low_dose - first[0].full_dose) > np.std(first[1].low_dose - first[1].full_dose)
    assert run.validation_pool.doses_of(0) == config.doses, "validation is reported by dose"
    metadata = export_model(config, tmp_path / "model")
    assert metadata.dose_range == (1 / 20, 1 / 2) and "1/2 to 1/20" in metadata.description
    assert metadata.extra["noise_level_range"] == noise_range(run.pool) != {}


@pytest.mark.slow
def test_a_run_can_start_from_a_model(config, tmp_path):
    TrainingRun(config).run()
    export_model(config, tmp_path / "model")
    model = load_model(tmp_path / "model")
    run = TrainingRun(replace(config, output=tmp_path / "second", start_from=str(tmp_path / "model")))
    run._wait_for_pool()
    run._build()
    assert run.state.sigma_data == model.metadata.sigma_data and run.state.step == 0
    for mine, stored in zip(run.denoiser.parameters(), model.denoiser.parameters()):
        torch.testing.assert_close(mine.detach(), stored)


def test_patches_follow_from_seed_and_step_and_positions_match_the_head(config):
    run = TrainingRun(config)
    run._wait_for_pool()
    source = PatchSource(run.pool, config, 0.1, 4.0)
    one, again, other = source.batch(3, 2), source.batch(3, 2), source.batch(4, 2)
    assert torch.equal(one.condition, again.condition) and torch.equal(one.noise, again.noise)
    assert not torch.equal(one.noise, other.noise)
    step = one.condition[:, 2:5, 1:, 1:, 1:] - one.condition[:, 2:5, :-1, :-1, :-1]
    assert bool((step > 0).all()), "positions rise along every axis, mirrored patches included"


def test_some_patches_see_no_mr(config):
    run = TrainingRun(config)
    run._wait_for_pool()
    for share, expected in ((0.0, 0), (1.0, 8)):
        source = PatchSource(run.pool, replace(config, mr_dropout=share), 0.1, 4.0)
        blind = sum(
            int(float(source.batch(step, 2).condition[n, 0].abs().max()) == 0) for step in range(4) for n in range(2)
        )
        assert blind == expected


def test_learning_rate_rises_rests_and_falls_to_zero():
    factors = [learning_rate_factor(step, 100, 10, 0.3) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[50] == 1 and factors[100] == 0
    assert factors[85] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", "must be a mapping"),
        ("name: x\nanatomy: a\noutput: b\nlayers: 3", "layers"),
        ("name: x\nanatomy: a", "output"),
        ("name: x\nanatomy: a\noutput: b\ndose_range: [1/2, 1/20]", "dose_range is"),
    ],
)
def test_a_wrong_configuration_is_reported(tmp_path, text, words):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_config(path)


def test_fractions_in_a_configuration(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("name: x\nanatomy: a\noutput: b\ndoses: [1/4, 0.1]")
    assert load_config(path).doses == (0.25, 0.1)


def test_a_configuration_of_the_former_version_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("name: x\nanatomy: a\noutput: b\nprior_share: 0.7")
    assert load_config(path).regression_share == 0.7


def test_a_share_of_the_patches_is_trained_blind_at_sigma_max(config):
    run = TrainingRun(config)
    run._wait_for_pool()
    for share, expected in ((0.0, [1.0] * config.batch), (1.0, [0.0] * config.batch)):
        batch = PatchSource(run.pool, replace(config, regression_share=share), 0.1, 4.0).batch(0, 2)
        assert batch.shown.tolist() == expected
        assert (batch.sigma == 4.0).all() == (share == 1.0)


def test_the_loss_hides_the_noisy_residual_from_blind_patches(config):
    run = TrainingRun(config)
    run._wait_for_pool()
    batch = PatchSource(run.pool, replace(config, regression_share=1.0), 0.1, 4.0).batch(0, 2)
    seen = []

    def denoiser(noisy, sigma, condition):
        seen.append(noisy)
        return torch.zeros_like(noisy)

    denoising_loss(denoiser, batch, 0.1)
    denoising_loss(denoiser, replace(batch, shown=torch.ones_like(batch.shown)), 0.1)
    assert not seen[0].any()
    assert torch.equal(seen[1], batch.residual + 4.0 * batch.noise)


def test_an_example_gives_its_full_dose_whatever_the_unit_of_its_residual(config):
    run = TrainingRun(config)
    run._wait_for_pool()
    _, _, example = next(run.pool.examples(1))
    noise, unit = example.full_dose - example.low_dose, example.terms.unit
    assert unit == pytest.approx(noise_level(example.low_dose, example.mask, (config.model_spacing,) * 3), rel=0.02)
    np.testing.assert_allclose(example.residual, noise / unit, rtol=1e-3, atol=1e-3)
    clean = replace(example, target="noise-free")
    np.testing.assert_allclose(unit * clean.residual, example.noise_free - example.low_dose, atol=1e-3)


SMALL = {
    "MultiViewUNet2d": {"widths": [8, 8], "embedding": 16},
    "DiffusionTransformer3d": {"width": 16, "blocks": 2, "heads": 2, "window": 2, "embedding": 16},
    "DDPMpp3d": {"in_channels": 6, "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "dropout": 0.13},
}
PAPER = {"normalisation": "reference", "sigma_data": 0.5, "sigma_range": (0.004, 160), "regression_share": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_what_ours_is_compared_with_is_trained_resumed_and_exported_by_the_same_code(config, tmp_path, kind):
    recipe = PAPER if kind == "DDPMpp3d" else {}
    config = replace(config, architecture={"type": kind, **SMALL[kind]}, steps=4, decay_share=0.0, **recipe)
    whole = TrainingRun(config)
    whole.run()
    parts = replace(config, output=tmp_path / "resumed", data=config.output)
    TrainingRun(replace(parts, steps=2)).run()
    resumed = TrainingRun(parts)
    assert resumed.run().step == 4
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)
    assert not (tmp_path / "resumed" / "pool").exists(), "runs with one data folder share its pool"
    export_model(config, tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.metadata.architecture["type"] == kind
    assert model.denoiser.model.in_channels == 1 + len(model.metadata.channels)


@pytest.mark.slow
def test_the_papers_recipe_trains_in_its_own_normalisation(config, tmp_path):
    architecture = {"type": "DDPMpp3d", **SMALL["DDPMpp3d"]}
    paper = TrainingRun(replace(config, architecture=architecture, mr_dropout=0.0, steps=1, **PAPER))
    paper.run()
    ours = TrainingRun(replace(config, output=tmp_path / "ours", data=config.output))
    (theirs, mine), spacing = (run.pool.load(1, 1 / 8) for run in (paper, ours)), (config.model_spacing,) * 3
    scale = 5000.0  # any unit: the scheme takes what the PET's own range is
    pipeline = make_condition("reference", Scan.of_array(scale * mine.low_dose, spacing), mine.mr)
    low = theirs.terms.network_pet(theirs.low_dose)
    trained = np.stack([theirs.mr, low, *spread_positions(theirs.terms.lines)])
    np.testing.assert_allclose(trained, pipeline.channels, atol=2e-3)
    full = scale * mine.full_dose
    np.testing.assert_allclose(theirs.residual, (full - scale * mine.low_dose) / pipeline.scale, atol=2e-3)
    patch = paper.source.batch(0, 2)
    assert patch.condition.shape[1] == 5 and bool((patch.shown == 1).all())
    export_model(paper.config, tmp_path / "model")
    metadata = load_model(tmp_path / "model").metadata
    assert (metadata.sigma_data, metadata.sigma_min, metadata.sigma_max) == (0.5, 0.002, 80.0)
    assert (metadata.normalisation, metadata.mean_from, metadata.mr_optional) == ("reference", "noise", False)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", CHANNELS)
def test_a_pool_of_any_scheme_can_be_handed_to_a_simulator_process(config, scheme):
    pool = TrainingRun(replace(config, normalisation=scheme)).pool
    pool.simulate(0)
    copy = pickle.loads(pickle.dumps(pool))
    np.testing.assert_array_equal(copy.load(0, 1 / 4).low_dose, pool.load(0, 1 / 4).low_dose)


@pytest.mark.parametrize("model", ["brain", "brain-0.2"])
def test_the_split_of_the_repository_is_that_of_the_bundled_models(model):
    training = read_metadata(resource_folder() / "Models" / model).training
    recorded = training["split"] if model == "brain" else training["deviation"]["split"]
    assert load_split(CONFIGS / "split.json") == recorded


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("train-*.yaml")))
def test_the_configurations_of_the_repository_can_be_read_and_built(name):
    config = load_config(CONFIGS / name)
    network = build_network(config.architecture)
    assert network.in_channels == 1 + len(CHANNELS[config.normalisation]) + (config.mean_model is not None)
    assert config.patch % network.multiple == 0
    runs = (CONFIGS.parent / "runs").resolve()
    assert config.split_file == (CONFIGS / "split.json").resolve(), "all share one split"
    assert config.dose_range or config.data == runs / "data", "those with the same doses share one pool"
    assert config.start_from in (None, *(str(runs / name / "model") for name in ("brain", "brain-0.1")))
