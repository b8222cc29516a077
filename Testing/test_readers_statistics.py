"""The statistics against published numbers and against other programs."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("statsmodels", reason="the extra 'readers' is not installed")
pytest.importorskip("sklearn", reason="the extra 'readers' is not installed")

import pandas as pd
from scipy import stats
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from CSRDDenoiseLib.readers.analysis.agreement import between_readers, icc, icc_2_1, within_readers
from CSRDDenoiseLib.readers.analysis.analyse import Roc
from CSRDDenoiseLib.readers.analysis.bradley_terry import bradley_terry
from CSRDDenoiseLib.readers.analysis.crossed import crossed_mean
from CSRDDenoiseLib.readers.analysis.mrmc import noninferiority, obuchowski_rockette
from CSRDDenoiseLib.readers.analysis.preference import Preference, share_of
from CSRDDenoiseLib.readers.analysis.ratings import difference_of, odds_ratio, signed_rank
from CSRDDenoiseLib.readers.analysis.roc import areas
from CSRDDenoiseLib.readers.power import Components, Plan, power, simulate_preferences, simulate_ratings
from CSRDDenoiseLib.readers.report.tables import _differences
from CSRDDenoiseLib.readers.report.words import _roc

DATA = Path(__file__).with_name("data") / "van_dyke.tsv"


@pytest.fixture(scope="module")
def van_dyke():
    """Ratings (2, 5, 114) of spin-echo and cine MRI and the truth; Van Dyke et al. 1993, see data/README-readers.md."""
    with DATA.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    ratings = [[[int(row[f"{m}_{r}"]) for row in rows] for r in range(1, 6)] for m in ("spin_echo", "cine")]
    return np.array(ratings), np.array([row["lesion"] == "1" for row in rows])


def test_areas_are_those_of_scikit_learn(van_dyke):
    ratings, lesion = van_dyke
    wanted = [[roc_auc_score(lesion, reader) for reader in method] for method in ratings]
    np.testing.assert_allclose(areas(*van_dyke).area, wanted, atol=1e-12)
    # OR-DBM MRMC 2.51, trapezoidal area
    published = [[0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066]]
    published += [[0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169]]
    np.testing.assert_allclose(areas(*van_dyke).area, published, atol=1e-8)


def test_van_dyke_gives_the_published_analysis(van_dyke):
    """Printed by OR-DBM MRMC 2.51 (Schartz, Hillis, Pesce, Berbaum) with jackknife covariances."""
    analysis = obuchowski_rockette(areas(*van_dyke))
    found = analysis.covariances
    np.testing.assert_allclose(
        [found.error, found.cov1, found.cov2, found.cov3],
        [0.00080229, 0.00034661, 0.00034407, 0.00023903],
        atol=5e-9,
    )
    assert analysis.f == pytest.approx(4.46, abs=0.005)
    assert analysis.df2 == pytest.approx(15.26, abs=0.005)
    assert analysis.p == pytest.approx(0.0517, abs=5e-5)
    random = analysis.comparisons[0].random_readers
    np.testing.assert_allclose(
        [random.value, random.se, random.low, random.high], [0.04380, 0.02075, -0.00036, 0.08796], atol=6e-6
    )
    fixed = analysis.comparisons[0].fixed_readers
    np.testing.assert_allclose(
        [fixed.value, fixed.se, fixed.low, fixed.high, fixed.p], [0.04380, 0.01872, 0.00711, 0.08049, 0.0193], atol=5e-5
    )
    single = [(each.value, each.se, each.df, each.low, each.high) for each in analysis.methods]
    np.testing.assert_allclose(single[0], (0.89703704, 0.03317360, 12.74, 0.82522360, 0.96885048), atol=5e-3)
    np.testing.assert_allclose(single[1], (0.94083736, 0.02156637, 12.71, 0.89413783, 0.98753689), atol=5e-3)


def test_one_reader_is_fixed(van_dyke):
    """Reader 5 alone, from the same printout: difference 0.10016, standard error 0.04406."""
    ratings, lesion = van_dyke
    analysis = obuchowski_rockette(areas(ratings[:, 4:], lesion))
    only = analysis.comparisons[0]
    assert only.random_readers is None
    assert np.isnan(analysis.f)
    np.testing.assert_allclose([only.best.value, only.best.se, only.best.p], [0.10016, 0.04406, 0.0230], atol=5e-5)


def test_noninferiority_agrees_with_the_interval(van_dyke):
    difference = obuchowski_rockette(areas(*van_dyke)).comparisons[0].random_readers
    edge = -difference.low
    assert noninferiority(difference, edge + 1e-6)[1]
    p, refuted = noninferiority(difference, edge - 1e-6)
    assert not refuted
    assert p == pytest.approx(0.025, abs=1e-4)


def test_without_an_error_of_a_reader_nothing_is_shown():
    """Two cases of a kind, all read right by both methods."""
    ratings, lesion = np.tile([1, 5, 1, 5], (2, 3, 1)), np.array([False, True, False, True])
    found = areas(ratings, lesion)
    analysis = obuchowski_rockette(found)
    best = analysis.comparisons[0].best
    p, shown = noninferiority(best, 0.05)
    assert (best.value, best.se, shown) == (0.0, 0.0, False) and np.isnan(p)
    roc = Roc(("a", "b"), ("R1", "R2", "R3"), ratings, lesion, found.area, analysis, {"b": (p, shown)})
    (sentence,) = _roc(roc, 0.05)
    assert "no difference" in sentence and "Too few readings differ to judge whether b is non-inferior to a" in sentence
    assert _differences(roc, 0.05).rows[0][-2:] == ("1.0000", "not known")


def test_methods_that_every_reader_rates_alike_are_not_judged():
    random = np.random.default_rng(0)
    for _ in range(30):
        ratings, lesion = simulate_ratings((0.8, 0.8), 5, 60, Components(), random)
        found = obuchowski_rockette(areas(ratings[[0, 0]], lesion)).comparisons[0]
        p, shown = noninferiority(found.best, 0.05)
        assert np.isnan(p) and not shown and found.best.p == 1


def test_readers_of_equal_differences_of_area_show_nothing_of_others():
    random = np.random.default_rng(0)
    for _ in range(3000):
        ratings, lesion = simulate_ratings((0.8, 0.8), 2, 6, Components(), random)
        found = obuchowski_rockette(areas(ratings, lesion)).comparisons[0]
        assert found.best.se > 1e-7 or abs(found.best.value) < 1e-9 or found.random_readers is None


def test_areas_of_many_pairs_are_corrected_for_their_number(van_dyke):
    ratings, truth = van_dyke
    two = obuchowski_rockette(areas(ratings, truth)).comparisons[0]
    assert two.p_holm == two.best.p
    four = obuchowski_rockette(areas(np.concatenate([ratings, ratings[:, :, ::-1]]), truth)).comparisons
    least = min(four, key=lambda each: each.best.p)
    assert len(four) == 6 and least.p_holm == pytest.approx(min(6 * least.best.p, 1))


def test_icc_of_shrout_and_fleiss():
    """Six targets, four judges: ICC(2,1) = 0.29 with limits 0.02 and 0.76 (Shrout and Fleiss 1979)."""
    judges = np.array([[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4], [8, 2, 8, 6, 9, 7]], float)
    np.testing.assert_allclose(icc_2_1(judges), (0.29, 0.02, 0.76), atol=0.005)


def test_icc_where_nothing_or_only_the_readers_differ():
    def of(*ratings):
        answers = [("R1", ratings[0]), ("R2", ratings[1])]
        rows = [(who, str(case), ("a",), "noise", each, False) for who, own in answers for case, each in enumerate(own)]
        return icc(pd.DataFrame(rows, columns=["reader", "case", "methods", "scale", "value", "repeat"]), "noise")

    # cases have the same mean rating: there is nothing that a correlation could be of
    assert of([1, 2, 1, 2], [2, 1, 2, 1]) is None and of([3, 3, 3, 4], [3, 3, 3, 2]) is None
    # readers a point apart: 10/3 over 10/3 + 2 * 2/4; F of 3 and 1 degrees of freedom is 864.16, of 1 and 3 17.44
    found = of([1, 2, 3, 4], [2, 3, 4, 5])
    low, high = (4 * 10 / 3 / (4 * 10 / 3 + 4 * over) for over in (864.163, 1 / 17.4434))
    np.testing.assert_allclose((found.value, found.low, found.high), (10 / 13, low, high), rtol=1e-4)


def test_crossed_mean_of_one_reader_is_a_t_interval():
    scores = np.random.default_rng(0).normal(0.3, 1, (1, 25))
    found = crossed_mean(scores)
    assert found.se == pytest.approx(scores.std(ddof=1) / 5)
    assert found.df == 24
    assert crossed_mean(scores[:, :1]) is None


def test_crossed_mean_estimates_its_own_error():
    rng = np.random.default_rng(1)
    made = [crossed_mean(_crossed(rng, 6, 30, 0.4, 0.6)) for _ in range(400)]
    true = np.std([each.value for each in made])
    assert np.sqrt(np.mean([each.se**2 for each in made])) == pytest.approx(true, rel=0.15)
    assert np.mean([each.low < 0 < each.high for each in made]) > 0.92


def test_a_unanimous_preference_has_an_interval():
    found = share_of(np.ones((3, 10)))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025**0.1)
    assert found.p == pytest.approx(2 * 0.5**10)


def test_the_p_value_of_a_preference_agrees_with_its_interval():
    """Two readers, 30 of 40 each, on cases as different as can be: no variance can be estimated."""
    scores = np.zeros((2, 40))
    scores[0, :30], scores[1, 10:] = 1, 1
    found = share_of(scores)
    assert (found.value, found.se) == (0.75, 0.0)
    assert found.low > 0.5 and found.p < 0.05
    for wins in range(41):
        scores = np.zeros((2, 40))
        scores[0, :wins], scores[1, 40 - wins :] = 1, 1
        found = share_of(scores)
        assert (found.p < 0.05) == (not found.low <= 0.5 <= found.high), wins
    assert share_of(np.zeros((3, 10))).p == pytest.approx(2 * 0.5**10)


def test_the_detectable_share_is_one_that_is_found_in_four_of_five_studies():
    plan = Plan(share=0.6, simulations=1)
    rng = np.random.default_rng(6)
    for share in (0.55, 0.9):
        scores = simulate_preferences(share, 4, 40, plan.components, rng)
        wins = int(scores.sum())
        found = Preference("a", "b", wins, 0, 160 - wins, 40, share_of(scores), {})
        assert power(Plan(share=found.detectable, simulations=300), 4, 40).power == pytest.approx(0.8, abs=0.2)


def test_bradley_terry_recovers_scores():
    rng = np.random.default_rng(2)
    true = {"a": 0.8, "b": 0.0, "c": -0.8}
    rows = _pairs(rng, true, cases=150, readers=4)
    scores, added = bradley_terry(rows, tuple(true))
    assert not added
    assert [score.method for score in scores] == ["a", "b", "c"]
    for score in scores:
        assert abs(score.value - true[score.method]) < 3 * score.se < 0.5


def test_bradley_terry_stays_finite_where_one_always_wins():
    rows = _pairs(np.random.default_rng(3), {"a": 50.0, "b": 0.0}, cases=12, readers=2)
    scores, added = bradley_terry(rows, ("a", "b"))
    assert added
    assert 2 < scores[0].value - scores[1].value < 6


@pytest.mark.parametrize(
    ("methods", "values", "se"),
    [
        # two readers who disagree on every case: of 8 answers, the log odds have the variance 4 / 8, a score a quarter
        (("a", "b"), [1, 2, 1, 2, 2, 1, 2, 1], [0.125**0.5] * 2),
        # rounding makes the variance of b between two cases negative
        (("a", "b", "c"), [2, 1, 2, 2, 2, 3, 3, 2, 3, 3, 2, 2], [0.5108, 0.5055, 0.5108]),
    ],
)
def test_bradley_terry_of_cases_without_variance_has_the_error_of_independent_answers(methods, values, se):
    pairs, places = list(itertools.combinations(methods, 2)), iter(values)
    shown = [(f"R{r}", str(c), pair) for r in range(2) for c in range(len(values) // 2 // len(pairs)) for pair in pairs]
    rows = [(*each, "preference", next(places), False) for each in shown]
    scores, _ = bradley_terry(
        pd.DataFrame(rows, columns=["reader", "case", "methods", "scale", "value", "repeat"]), methods
    )
    np.testing.assert_allclose([score.se for score in scores], se, atol=1e-4)
    assert all(score.low < score.value < score.high for score in scores)


def test_odds_ratio_recovers_a_shift():
    rng = np.random.default_rng(4)
    latent = rng.logistic(size=(2, 4, 200)) + np.array([1.0, 0.0])[:, None, None] + rng.normal(size=(4, 1)) * 0.5
    first, second = np.digitize(latent, [-1.5, -0.5, 0.5, 1.5]) + 1
    value, low, high = odds_ratio(first, second)
    assert low < np.e < high
    assert high / low < 2.5
    assert value == pytest.approx(np.e, rel=0.4)
    assert odds_ratio(np.ones((2, 5)), np.ones((2, 5))) is None


def test_wilcoxon_of_no_difference():
    assert signed_rank(np.zeros(9)) == 1.0
    assert signed_rank(np.arange(1, 11) / 10) < 0.01


def test_kappa_is_that_of_scikit_learn():
    rng = np.random.default_rng(5)
    first = rng.integers(1, 6, 40)
    again = np.clip(first + rng.integers(-1, 2, 40), 1, 5)
    rows = pd.DataFrame(
        [
            {"reader": "R1", "case": str(i), "methods": ("a",), "scale": "noise", "value": v, "repeat": r}
            for r, values in ((False, first), (True, again))
            for i, v in enumerate(values)
        ]
    )
    (found,) = within_readers(rows, [("noise", 5)])
    assert found.kappa == pytest.approx(cohen_kappa_score(first, again, weights="quadratic"))
    assert found.low < found.kappa < found.high
    assert found.equal == pytest.approx((first == again).mean())


def _crossed(rng, readers, cases, reader_sd, case_sd):
    return rng.normal(0, reader_sd, (readers, 1)) + rng.normal(0, case_sd, cases) + rng.normal(size=(readers, cases))


def _pairs(rng, scores, cases, readers):
    """Answers about every pair of methods, by the model itself."""
    names, rows = list(scores), []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            for case in range(cases):
                for reader in range(readers):
                    wins = rng.random() < 1 / (1 + np.exp(scores[second] - scores[first]))
                    rows.append((f"R{reader}", str(case), (first, second), "preference", 1 if wins else 2, False))
    return pd.DataFrame(rows, columns=["reader", "case", "methods", "scale", "value", "repeat"])


def test_readers_of_equal_means_leave_an_error():
    # two readers with one mean difference, whose cases scatter no more than the error: no variance is left of either
    scores = np.array([[1, 0, 0, 1, 2, -1, 0, 1], [0, 1, 1, 0, -1, 2, 1, 0]], float)
    found = difference_of(scores)
    spread = scores - scores.mean(axis=0)
    assert crossed_mean(scores).se == 0
    assert found.se == pytest.approx(np.sqrt((spread**2).sum() / 7 / 16)) and found.df == 7
    assert found.p == pytest.approx(2 * stats.t.sf(0.5 / found.se, 7)) and found.low < 0.5 < found.high
    # as in a study of ratings that always differ by one point: the cases alone say how sure that is
    assert difference_of(np.ones((3, 6))).p == pytest.approx(2 / 2**6)
    assert difference_of(np.zeros((2, 4))).p == 1


def test_mean_squares_that_are_equal_leave_no_rounding():
    # found by a search: readers of one mean, and as much scatter of cases as error
    ratings = np.array([[0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0], [0, 1, 2, -1, -1, 0], [1, -1, 1, -1, 1, 0]], float)
    assert difference_of(ratings).p == pytest.approx(2 * stats.t.sf(1, 15))
    random, row = np.random.default_rng(0), np.repeat([1.0, 0.0], (3, 27))
    shares = [share_of(np.array([random.permutation(row) for _ in range(5)])) for _ in range(200)]
    assert min(share.high - share.low for share in shares) > 0.01


def test_level_of_ratings_of_two_readers_of_like_methods():
    random = np.random.default_rng(0)
    found = [difference_of(np.round(random.normal(0, 0.7, (2, 20)))).p for _ in range(1000)]
    assert np.mean(np.array(found) < 0.05) < 0.06


def test_kappa_of_a_reader_who_uses_one_answer_is_not_known():
    def of(first, second):
        parts = (("R1", first), ("R2", second))
        rows = [(who, str(case), ("a",), "noise", each, False) for who, own in parts for case, each in enumerate(own)]
        rows = pd.DataFrame(rows, columns=["reader", "case", "methods", "scale", "value", "repeat"])
        (found,) = between_readers(rows, [("noise", 5)])
        return found

    assert of([5, 4, 5, 3, 5, 5, 4], [4] * 7).kappa is None
    found = of([5] * 7, [5, 4, 5, 5, 5, 4, 5])
    assert found.kappa is None and found.equal == pytest.approx(5 / 7)
    assert of([5, 4, 5, 5, 4], [5, 4, 5, 4, 4]).kappa > 0
