"""What the residuals of neighbouring frames have in common: no more and no less is taken back."""

from __future__ import annotations

import numpy as np
import pytest

from CSRDDenoiseLib.prepare.windows import WINDOW, activity_scale, common_parts, windows_of

SHAPE = (3, 4, 5)


def test_windows_hold_the_nearest_denoised_frames():
    assert windows_of((0, 1, 2, 3)) == {}
    assert windows_of((1, 2, 4, 5, 7, 9)) == {
        **dict.fromkeys((1, 2, 4), (1, 2, 4, 5, 7)),
        **dict.fromkeys((5, 7, 9), (2, 4, 5, 7, 9)),
    }


def parts(residuals, done, weights, scales):
    found = dict(common_parts(residuals.__getitem__, done, dict(zip(done, weights)), dict(zip(done, scales))))
    assert list(found) == list(done) or not found
    return found


def test_a_bias_in_proportion_to_the_activity_goes_and_the_counts_of_a_window_stay():
    random, count = np.random.default_rng(0), 9
    activity, durations = random.uniform(1, 9, count), random.uniform(10, 300, count)
    bias = random.normal(size=SHAPE).astype(np.float32)
    residuals = {index: (value * bias).astype(np.float32) for index, value in enumerate(activity)}
    for index, part in parts(residuals, range(count), durations, activity).items():
        np.testing.assert_allclose(part, residuals[index], rtol=1e-4, atol=1e-5)
    residuals = {index: random.normal(size=SHAPE).astype(np.float32) for index in range(count)}
    found = parts(residuals, range(count), durations, activity)
    for index in range(2, count - 2):
        window = range(index - 2, index + 3)
        total = sum(durations[each] * residuals[each] for each in window)
        share = activity[index] / sum(durations[each] * activity[each] for each in window)
        np.testing.assert_allclose(found[index], total * share, rtol=1e-3, atol=1e-5)


def test_a_fifth_of_the_noise_that_was_removed_comes_back():
    random, count = np.random.default_rng(1), 200
    residuals = {index: random.normal(size=SHAPE).astype(np.float32) for index in range(count)}
    found = parts(residuals, range(count), np.ones(count), np.ones(count))
    assert np.var(list(found.values())) == pytest.approx(1 / WINDOW, rel=0.1)


def test_too_few_frames_keep_their_residuals():
    residuals = {index: np.ones(SHAPE, np.float32) for index in range(4)}
    assert parts(residuals, range(4), np.ones(4), np.ones(4)) == {}


def test_scale_is_positive_where_a_frame_is_not():
    values, brain = np.array([-4.0, -2.0, np.nan, 8.0]), np.array([True, True, True, False])
    assert activity_scale(values, brain, 50.0) == pytest.approx(0.5)
    assert activity_scale(np.abs(values), brain, 50.0) == pytest.approx(3)
