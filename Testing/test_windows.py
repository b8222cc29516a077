"""What the residuals of neighbouring frames have in common: no more and no less is taken back."""

from __future__ import annotations

import numpy as np
import pytest

from CSRDDenoiseLib.prepare.windows import WINDOW, activity_scale, shares_of, windows_of

DURATIONS = np.array([10.0] * 4 + [20.0] * 4 + [60.0] * 4 + [300.0] * 12)
ACTIVITY = np.linspace(1, 9, len(DURATIONS))


def test_windows_hold_the_nearest_denoised_frames():
    assert windows_of(6) == (*[slice(0, 5)] * 3, *[slice(1, 6)] * 3)
    assert windows_of(WINDOW) == (slice(0, WINDOW),) * WINDOW


def window_means(frames: np.ndarray) -> np.ndarray:
    """The mean of every five frames, weighted by duration, (windows, voxels)."""
    firsts = range(len(frames) - WINDOW + 1)
    places = [slice(first, first + WINDOW) for first in firsts]
    return np.array([np.average(frames[place], axis=0, weights=DURATIONS[place]) for place in places])


def noise(seed: int, voxels: int = 4000) -> np.ndarray:
    """Independent noise of frames that follows their counts, (frames, voxels) float32."""
    white = np.random.default_rng(seed).normal(size=(len(DURATIONS), voxels))
    return (white * np.sqrt(ACTIVITY / DURATIONS)[:, None]).astype(np.float32)


def test_a_bias_in_proportion_to_the_activity_goes_entirely():
    bias = np.outer(ACTIVITY, np.random.default_rng(0).normal(size=50)).astype(np.float32)
    shares = shares_of(DURATIONS, ACTIVITY)
    for smoothed in (np.zeros_like(bias), bias):
        np.testing.assert_allclose(shares.parts(bias, smoothed), bias, rtol=1e-4, atol=1e-4)


def test_without_coarse_parts_the_mean_over_the_frames_around_is_taken_back():
    residuals, shares = noise(1), shares_of(DURATIONS, ACTIVITY)
    parts = shares.parts(residuals, np.zeros_like(residuals))
    for frame in range(2, len(DURATIONS) - 2):
        window = slice(frame - 2, frame + 3)
        total = DURATIONS[window] @ residuals[window]
        np.testing.assert_allclose(
            parts[frame], ACTIVITY[frame] * total / np.dot(DURATIONS[window], ACTIVITY[window]), rtol=1e-3, atol=1e-5
        )


def test_windows_move_less_where_the_residual_is_coarse():
    residuals, shares = noise(2), shares_of(DURATIONS, ACTIVITY)
    before, near, best = (
        window_means(residuals - parts).std(1)
        for parts in (0, shares.parts(residuals, 0 * residuals), shares.parts(residuals, residuals))
    )
    assert (best < 0.4 * before).all() and np.median(best / near) < 0.75


def test_less_than_half_of_the_noise_that_was_removed_comes_back():
    residuals, shares = noise(3), shares_of(np.full(200, 60.0), np.ones(200))
    assert shares is not None
    even = np.random.default_rng(3).normal(size=(200, 500)).astype(np.float32)
    fine, coarse = (shares.parts(even, smoothed).var() for smoothed in (np.zeros_like(even), even))
    assert fine == pytest.approx(1 / WINDOW, rel=0.1) and coarse == pytest.approx(0.24, abs=0.03)
    shares = shares_of(DURATIONS, ACTIVITY)
    come_back = shares.parts(residuals, residuals).var(1) / residuals.var(1)
    assert np.median(come_back) < 0.35 and come_back.max() < 0.55


def test_the_variance_is_that_of_the_noise_that_comes_back():
    residuals, shares = noise(4, 20000), shares_of(DURATIONS, ACTIVITY)
    smoothed = 0.5 * residuals
    stated, found = shares.variance(residuals, smoothed).mean(1), shares.parts(residuals, smoothed).var(1)
    np.testing.assert_allclose(stated, found, rtol=0.05)


def test_too_few_frames_keep_their_residuals():
    assert shares_of(np.ones(4), np.ones(4)) is None


def test_scale_is_positive_where_a_frame_is_not():
    values, brain = np.array([-4.0, -2.0, np.nan, 8.0]), np.array([True, True, True, False])
    assert activity_scale(values, brain, 50.0) == pytest.approx(0.005)
    assert activity_scale(np.abs(values), brain, 50.0) == pytest.approx(3)
