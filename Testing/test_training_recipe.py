"""The recipe of the bundled model: its patches, lesions, loss, and the run for the draws."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.model.deviation import Unit, deviation_unit, known_of
from CSRDDenoiseLib.prepare.bands import noise_bands
from CSRDDenoiseLib.research.training.augment import draw_lesions, lesion_factor
from CSRDDenoiseLib.research.training.config import SUB_REGIONS, TrainingConfig
from CSRDDenoiseLib.research.training.deviation import DeviationSource, fit_unit, posterior_mean_of
from CSRDDenoiseLib.research.training.draws import _agreement, score_draws
from CSRDDenoiseLib.research.training.export import export_model
from CSRDDenoiseLib.research.training.loop import TrainingRun
from CSRDDenoiseLib.research.training.objective import Coarse, denoising_loss, quantity_loss
from CSRDDenoiseLib.research.training.patches import Batch, PatchSource, _cut


@pytest.mark.slow
def test_the_recipe_of_the_bundled_model_trains_and_its_model_denoises_to_noise_free(banded, tmp_path):
    config = replace(banded, keep_mm=8.0, doses=(1 / 4, 1 / 8), steps=2)
    TrainingRun(config).run()
    lines = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    assert {"psnr", "psnr_full", "calm"} <= set(lines[-1]) and np.isfinite(lines[0]["loss"])
    metadata = export_model(config, tmp_path / "model")
    assert (metadata.target, metadata.normalisation) == ("noise-free", "noise-bands")
    assert load_model(tmp_path / "model").denoiser.model.in_channels == 1 + len(metadata.channels)


@pytest.mark.slow
def test_a_run_for_the_draws_is_exported_with_the_model_of_the_mean(banded, tmp_path):
    first = replace(banded, doses=(1 / 4, 1 / 8), steps=1, output=tmp_path / "mean", data=tmp_path / "data")
    TrainingRun(first).run()
    export_model(first, tmp_path / "mean-model")
    architecture = {**first.architecture, "in_channels": 13}
    second = replace(first, output=tmp_path / "draws", mean_model=str(tmp_path / "mean-model"), steps=3)
    second = replace(second, architecture=architecture, regression_share=0.0, repeats=2, sigma_range=(0.1, 10.0))
    run = TrainingRun(second)
    run.run()
    last = json.loads((second.output / "log.jsonl").read_text().splitlines()[-1])
    assert {"spread", "follows", "outside"} <= set(last)
    metadata = export_model(second, tmp_path / "both")
    both, mean = load_model(tmp_path / "both"), load_model(tmp_path / "mean-model")
    assert metadata.deviation.sigma_data == run.state.sigma_data and metadata.mean_from == "zero"
    assert metadata.deviation.sigma_max == pytest.approx(10 * run.state.sigma_data)
    for one, other in zip(both.denoiser.parameters(), mean.denoiser.parameters()):
        torch.testing.assert_close(one, other)
    assert both.deviation.model.in_channels == 13
    rows = list(score_draws(both, run.validation_pool, [0], {2: 1, 3: 1}))
    assert [row.steps for row in rows] == [2, 3] * len(run.validation_pool.doses_of(0))
    assert all(row.agreement.spread > 0 and -1 <= row.agreement.follows <= 1 for row in rows)


@pytest.mark.slow
def test_the_deviation_is_what_the_posterior_mean_leaves_and_patches_are_seen_with_other_noise(banded, tmp_path):
    first = replace(banded, doses=(1 / 4, 1 / 8), steps=1, output=tmp_path / "mean", data=tmp_path / "data")
    run = TrainingRun(first)
    run.run()
    export_model(first, tmp_path / "mean-model")
    mean, config = load_model(tmp_path / "mean-model"), replace(first, regression_share=0.0, outside_weight=0.1)
    source = PatchSource(run.pool, config, 0.9, 9.0)
    weights = Unit((0.2, 0.5, 0.1), 0.4)
    batches = [DeviationSource(source, mean, weights, repeats=2).batch(step, 1) for step in range(3)]
    plain, given = source.batch(0, 1), batches[0].condition[:, -1:]
    torch.testing.assert_close(batches[0].condition[:, :-1], plain.condition)
    unit = deviation_unit(known_of(plain.condition, 1), given, weights)
    torch.testing.assert_close(unit * batches[0].residual + given, plain.residual)
    torch.testing.assert_close(given, posterior_mean_of(mean, plain.condition))
    zero, tenth = (PatchSource(run.pool, replace(config, lesions=0, outside_weight=w), 0.9, 9.0) for w in (0.0, 0.1))
    pairs = [(zero.batch(step, 1).weight, tenth.batch(step, 1).weight) for step in range(8)]
    patches = [(plain, more) for both in pairs for plain, more in zip(*both) if bool((plain == 0).any())]
    assert patches
    for plain_weight, more in patches:
        assert float(more[plain_weight == 0].max()) == pytest.approx(0.1 * float(more.max()), rel=1e-5)
    assert torch.equal(batches[1].residual, batches[0].residual) and not torch.equal(
        batches[2].residual, plain.residual
    )
    assert not torch.equal(batches[1].noise, batches[0].noise)


@pytest.mark.slow
def test_the_unit_of_the_deviation_is_that_of_the_first_patches(banded, tmp_path):
    first = replace(banded, doses=(1 / 4, 1 / 8), steps=1, output=tmp_path / "mean", data=tmp_path / "data")
    run = TrainingRun(first)
    run.run()
    export_model(first, tmp_path / "mean-model")
    mean = load_model(tmp_path / "mean-model")
    source = PatchSource(run.pool, replace(first, lesions=0), 1.0, 9.0)
    unit = fit_unit(source, mean, 1)
    assert unit.constants == 3
    batches = [DeviationSource(source, mean, unit).batch(step, 1) for step in range(100, 110)]
    inside = torch.cat([batch.residual[batch.weight > 0] for batch in batches])
    assert 0.4 < float(inside.square().mean().sqrt()) < 2.5


def test_draws_that_are_samples_have_the_spread_of_the_error_where_it_is():
    rng = np.random.default_rng(3)
    scale = np.repeat(np.repeat(np.repeat(rng.uniform(0.5, 2, (10, 10, 10)), 4, 0), 4, 1), 4, 2)
    mask = np.zeros((40, 40, 40), bool)
    mask[4:36, 4:36, 4:36] = True
    error, draw = (np.square(scale * rng.standard_normal(scale.shape)) for _ in range(2))
    right, twice, flat = (
        _agreement(each, error, mask) for each in (draw, 4 * draw, np.square(rng.standard_normal(scale.shape)))
    )
    assert right.spread == pytest.approx(1, abs=0.03) and right.outside == pytest.approx(1, abs=0.03)
    assert twice.spread == pytest.approx(2 * right.spread) and twice.follows == pytest.approx(right.follows)
    assert right.follows > 0.8 and abs(flat.follows) < 0.2


@pytest.mark.slow
def test_a_patch_with_more_noise_is_described_so_and_its_residual_leads_to_noise_free(banded):
    run = TrainingRun(replace(banded, lesions=0, mr_dropout=0.0))
    run._wait_for_pool()
    example = run.pool.load(0, 1 / 4)
    for scale in (0.5, 1.0, 2.0):
        pet = example.noise_free + scale * (example.low_dose - example.noise_free)
        bands = noise_bands(pet, example.mask, (5.0,) * 3)
        assert example.terms_at(scale).constants == pytest.approx(bands.constants, abs=0.05)
    source = PatchSource(run.pool, run.config, 0.9, 40.0)
    batch = source.batch(1, 1)
    unit = batch.condition[:, 5:6].exp()
    clean = batch.condition[:, 1:2] + unit * batch.residual
    again = PatchSource(run.pool, replace(run.config, noise_scale=1.0), 0.9, 40.0).batch(1, 1)
    assert len(torch.unique(batch.condition[:, 5])) == 2, "each patch has noise of its own"
    known = again.condition[:, 1:2] + again.condition[:, 5:6].exp() * again.residual
    torch.testing.assert_close(clean, known, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_lesions_change_the_pet_alone_and_weigh_more(banded):
    run = TrainingRun(replace(banded, lesion_share=1.0, mr_dropout=0.0, regression_share=1.0))
    run._wait_for_pool()
    with_lesions, without = (
        PatchSource(run.pool, replace(run.config, lesions=lesions), 0.9, 40.0).batch(3, 1) for lesions in (24, 0)
    )
    weights = with_lesions.weight[without.weight > 0] / without.weight[without.weight > 0].median()
    assert float(weights.max()) == pytest.approx(9 * float(weights[weights > 0].min()), rel=1e-3)
    assert len(torch.unique(with_lesions.weight)) > len(torch.unique(without.weight))


def test_lesions_have_their_radius_and_contrast():
    lesions = torch.from_numpy(draw_lesions(48, 1, 2.0, np.random.default_rng(5)))[None]
    (factor, inside), (blurred, _) = (
        (made.numpy()[0, 0] for made in lesion_factor(lesions, 48, torch.tensor([sigma]))) for sigma in (0.0, 1.7)
    )
    inside = inside > 0
    half, amount = lesions[0, 0, 3:6].numpy(), float(lesions[0, 0, 6])
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * half.prod(), rel=0.1)
    assert (factor.max() if amount > 0 else factor.min()) == pytest.approx(1 + amount, rel=1e-5)
    assert factor.min() >= 0.1 and factor.max() <= 2.8
    assert set(np.unique(np.round(factor[inside & ~ndimage.binary_dilation(~inside, iterations=2)], 4))) != {1.0}
    np.testing.assert_array_equal(factor[~ndimage.binary_dilation(inside, iterations=2)], 1)
    assert abs(blurred - 1).max() < abs(factor - 1).max()
    assert (blurred - 1).sum() == pytest.approx((factor - 1).sum(), rel=0.05)


def test_what_the_result_takes_from_the_measurement_counts_less():
    residual = torch.zeros(1, 1, 24, 24, 24)
    batch = Batch(residual, residual, residual + 1, torch.tensor([4.0]), residual, torch.zeros(1))

    def loss(error, coarse, shown=0.0):
        seen = replace(batch, shown=torch.tensor([shown]))
        return float(denoising_loss(lambda noisy, sigma, condition: error, seen, 1.0, coarse))

    flat, fine = residual + 1, (torch.arange(24) % 2 * 2 - 1).float().expand_as(residual)
    half = Coarse(4.0, 0.5)
    assert loss(flat, half) == pytest.approx(0.25 * loss(flat, Coarse()), rel=1e-5)
    assert loss(fine, half) == pytest.approx(loss(fine, Coarse()), rel=0.05)
    assert loss(flat, half, shown=1.0) == pytest.approx(loss(flat, Coarse()), rel=1e-5)


def test_means_and_maxima_of_sub_regions_count_where_they_are_asked_for():
    """A point that is missed lacks its share of the mean and all of the maximum of the three cubes that it is in."""
    truth = torch.zeros(1, 1, 16, 16, 16)
    truth[0, 0, 5, 5, 5] = 4.0
    cubes = [(16 / side) ** 3 for side in SUB_REGIONS]
    expected = sum(((4 / side**3) ** 2 + 4**2) / count for side, count in zip(SUB_REGIONS, cubes)) / len(SUB_REGIONS)
    assert float(quantity_loss(torch.zeros_like(truth), truth)) == pytest.approx(expected, rel=1e-5)
    assert float(quantity_loss(truth, truth)) == 0.0


def test_the_maximum_is_that_of_the_image_in_the_unit_of_the_residual():
    """A low dose of 3 with an error of -1 at one voxel: what is compared is 2 with 3, in units of 0.5."""
    residual = torch.zeros(1, 1, 16, 16, 16)
    condition = torch.zeros(1, 6, 16, 16, 16)
    condition[:, 1, 8, 8, 8], condition[:, 5] = 3.0, np.log(0.5)
    batch = Batch(residual, condition, residual + 1, torch.tensor([1e3]), residual, torch.zeros(1))
    missed = residual.clone()
    missed[0, 0, 8, 8, 8] = -2.0

    def loss(quantities):
        return float(denoising_loss(lambda noisy, sigma, given: missed, batch, 1.0, Coarse(), quantities))

    truth = condition[:, 1:2] / 0.5
    assert loss(2.0) - loss(0.0) == pytest.approx(2 * float(quantity_loss(truth + missed, truth)), rel=1e-3)
    with pytest.raises(InputError, match="quantities"):
        TrainingConfig("x", Path("out"), Path("anatomy"), quantities=1.0, normalisation="reference")


@pytest.mark.parametrize("start", [(-4, 0, 3), (2, -1, 4), (0, 0, 0)])
def test_beyond_a_volume_a_patch_repeats_its_outermost_voxels_as_a_run_does(start):
    volume = np.random.default_rng(0).standard_normal((3, 7, 9, 8)).astype(np.float16)
    cube = torch.empty((2, 6, 6, 6), dtype=torch.float16)
    _cut(torch.from_numpy(volume), torch.tensor([2, 0]), start, cube)
    padded = np.pad(volume[[2, 0]], [(0, 0)] + [(6, 6)] * 3, mode="edge")
    whole = padded[(slice(None), *(slice(s + 6, s + 12) for s in start))]
    np.testing.assert_array_equal(cube.numpy(), whole)
