"""Statistics of a validation, against published examples and exact values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from CSRDDenoiseLib.research.validation.statistics import (
    absolute_agreement,
    confidence_interval,
    icc_2_1,
    paired_gain,
)

# Shrout and Fleiss 1979, table 2: four judges on six targets
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def test_intraclass_correlation_of_the_published_example():
    assert icc_2_1(RATINGS) == pytest.approx(0.29, abs=0.005)


def test_agreement_is_one_for_equal_values_and_falls_with_an_offset():
    values = [1.0, 1.2, 0.8, 2.0]
    assert absolute_agreement(values, values) == pytest.approx(1)
    shifted = absolute_agreement(np.add(values, 0.5), values)
    assert shifted is not None and shifted < 0.8
    assert absolute_agreement([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]) is None
    assert absolute_agreement([1.0, 2.0], [1.0, 2.0]) is None


def test_gain_of_every_subject_has_the_smallest_p_that_its_number_allows():
    gain = paired_gain([2.0, 3.0, 4.5, 5.0, 6.2], [1.0, 1.5, 2.2, 3.6, 5.9])
    assert gain.p == pytest.approx(2 / 2**5) and gain.count == 5
    assert gain.mean == pytest.approx(np.mean([1.0, 1.5, 2.3, 1.4, 0.3]))
    assert gain.low is not None and gain.high is not None and 0 < gain.low < gain.mean < gain.high


def test_few_subjects_have_no_interval_and_one_has_no_test():
    assert paired_gain([2.0], [1.0]).p is None
    three = paired_gain([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    assert (three.low, three.high) == (None, None) and three.p == pytest.approx(0.25)


def test_equal_methods_gain_nothing():
    gain = paired_gain([1.0] * 5, [1.0] * 5)
    assert (gain.mean, gain.low, gain.high, gain.p) == (0.0, 0.0, 0.0, 1.0)


def test_interval_is_near_that_of_t_for_normal_values_and_the_same_every_time():
    values = np.random.default_rng(0).normal(1.0, 0.5, 40)
    low, high = confidence_interval(values)
    expected = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.04)
    assert confidence_interval(values) == (low, high)
