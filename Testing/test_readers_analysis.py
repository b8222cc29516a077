"""Whole studies: a planted difference is found, none is not, the power is as computed, and the report says so."""

from __future__ import annotations

import gc
import re

import numpy as np
import pytest

pytest.importorskip("statsmodels", reason="the extra 'readers' is not installed")
pytest.importorskip("sklearn", reason="the extra 'readers' is not installed")

from full_disk import full_disk
from model_observer import Look, Observer, write_cases
from reader_study import METHODS, answer_all, make_study, write_table
from scipy import stats

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.readers.analysis import ratings
from CSRDDenoiseLib.readers.analysis.analyse import Options, analyse, roc_of
from CSRDDenoiseLib.readers.analysis.join import join
from CSRDDenoiseLib.readers.analysis.preference import preference
from CSRDDenoiseLib.readers.answers import Answer, Answers, read_answers
from CSRDDenoiseLib.readers.key import Key, TrialKey, key_path_of
from CSRDDenoiseLib.readers.plan import PlanOptions, plan_readings
from CSRDDenoiseLib.readers.power import NONINFERIORITY, PREFERENCE, ROC, Components, Plan, power
from CSRDDenoiseLib.readers.scales import scales_of
from CSRDDenoiseLib.readers.study import PREFERENCE as PAIRS
from CSRDDenoiseLib.readers.study import RATING, Reading, Study, Trial

STUDIES = 200
LOW, DENOISED = Look(contrast=1.5, noise=3.0), Look(contrast=1.9, noise=0.8)


def virtual(kind, methods, readers, cases, scales=(), seed=0):
    """A study without images, as the design plans it, and its key; every second case has a lesion."""
    names = [f"c{i}" for i in range(cases)]
    readings, keys = [], {}
    planned = plan_readings(names, [], methods, PlanOptions(kind, readers, repeats=0, seed=seed))
    for number, showings in enumerate(planned, 1):
        trials = []
        for each in showings:
            trial = Trial(f"t{len(keys)}", each.methods, (0.0, 1.0), (0.0, 0.0, 0.0), each.block, False)
            keys[trial.id] = TrialKey(each.case, each.methods)
            trials.append(trial)
        readings.append(Reading(f"R{number}", tuple(trials)))
    study = Study("s", "virtual", kind, scales_of(kind, scales), 0, tuple(readings))
    return study, Key("s", "", seed, methods, keys, {}, {name: i % 2 == 1 for i, name in enumerate(names)}, {})


def answered(study, key, value):
    """Answers of all readers; ``value(reader, case, methods)`` with numbers of reader and case gives each."""
    made = []
    for number, reading in enumerate(study.readings):
        answers = []
        for trial in reading.trials:
            shown = key.trials[trial.id]
            values = {s.name: value(number, int(shown.case[1:]), shown.methods) for s in study.scales}
            answers.append(Answer(trial.id, values, 1.0, "2025-01-01T00:00:00+00:00"))
        made.append(Answers(study.id, reading.reader, "", tuple(answers)))
    return made


def preference_rates(share, readers, cases, studies=STUDIES, seed=0):
    """The share of simulated studies that find a preference, through plan, answers, key and analysis."""
    rng = np.random.default_rng(seed)
    study, key = virtual(PAIRS, ("a", "b"), readers, cases)
    parts, found = Components(), 0
    # the same model as in the library, written once more: one covariance for all answers about a pair
    spread = np.sqrt([parts.preference_reader, parts.preference_case])
    rest = np.sqrt(1 - (spread**2).sum())
    for _ in range(studies):
        by_reader, by_case = rng.normal(0, spread[0], readers), rng.normal(0, spread[1], cases)
        latent = stats.norm.ppf(share) + by_reader[:, None] + by_case + rng.normal(0, rest, (readers, cases))

        def choice(reader, case, methods, latent=latent):
            wins = latent[reader, case] > 0
            return 1 if (methods[0] == "a") == wins else 2

        found += preference(join(study, key, answered(study, key, choice)), "a", "b").share.p < 0.05
    return found / studies


def rating_study(rng, area, readers, cases, parts):
    """Ratings (2, R, C) on five points, drawn case by case from the covariance of all readers and methods at once."""
    lesion = np.arange(cases) % 2 == 1
    same_m, same_r = np.kron(np.eye(2), np.ones((readers, readers))), np.kron(np.ones((2, 2)), np.eye(readers))
    chance = 1 - parts.case - parts.method_case - parts.reader_case
    of_cases = parts.case + parts.method_case * same_m + parts.reader_case * same_r + chance * np.eye(2 * readers)
    of_readers = parts.reader * (same_r + np.eye(2 * readers))
    latent = rng.multivariate_normal(np.zeros(2 * readers), of_cases, cases).T
    shift = np.array([rng.multivariate_normal(np.zeros(2 * readers), of_readers) for _ in range(2)])
    latent += shift[lesion.astype(int)].T
    mean = stats.norm.ppf(area) * np.sqrt(2 + 4 * parts.reader)
    latent += np.repeat(mean, readers)[:, None] * lesion
    return np.digitize(latent, mean.mean() / 2 + np.array([-1.5, -0.5, 0.5, 1.5])).reshape(2, readers, cases) + 1


def roc_rates(area, readers, cases, judge, seed=0, studies=STUDIES):
    rng = np.random.default_rng(seed)
    study, key = virtual(RATING, ("a", "b"), readers, cases, ("lesion",))
    found = 0
    for _ in range(studies):
        given = rating_study(rng, area, readers, cases, Components())
        answers = answered(study, key, lambda r, c, m, given=given: int(given["ab".index(m[0]), r, c]))
        found += judge(roc_of(join(study, key, answers), key, ("a", "b"), 0.05))
    return found / studies


def differs(roc):
    return roc.analysis.comparisons[0].best.p < 0.05


def noninferior(roc):
    return roc.noninferior["b"][1]


@pytest.mark.slow
def test_preference_studies_keep_their_level():
    assert preference_rates(0.5, readers=4, cases=24, seed=1) <= 0.07


@pytest.mark.slow
def test_roc_studies_keep_their_level():
    assert roc_rates((0.85, 0.85), 4, 40, differs, seed=2) <= 0.07


@pytest.mark.slow
def test_noninferiority_keeps_its_level_at_the_margin():
    assert roc_rates((0.85, 0.795), 4, 40, noninferior, seed=3) <= 0.045


@pytest.mark.slow
def test_rating_studies_keep_their_level_over_all_comparisons(monkeypatch):
    """Two scales and two methods that are the same: any of the corrected p values below 5 % is a false positive."""
    # not looked at here, and what takes the time
    monkeypatch.setattr(ratings, "odds_ratio", lambda *_: None)
    monkeypatch.setattr(gc, "collect", lambda: 0)
    rng = np.random.default_rng(4)
    study, key = virtual(RATING, ("a", "b"), 4, 24, ("noise", "sharpness"))
    found = 0
    for _ in range(STUDIES):
        base = rng.normal(size=24) + rng.normal(0, 0.3, (4, 1))
        values = np.clip(np.round(3 + base + rng.normal(0, 0.8, (2, 4, 24))), 1, 5).astype(int)
        answers = answered(study, key, lambda r, c, m, values=values: int(values["ab".index(m[0]), r, c]))
        compared = ratings.compare_ratings(join(study, key, answers), ("noise", "sharpness"), ("a", "b"))
        found += min(each.p_holm for each in compared) < 0.05
    assert found / STUDIES <= 0.07


@pytest.mark.slow
def test_power_is_as_computed():
    plan = Plan(PREFERENCE, share=0.72, simulations=STUDIES, seed=5)
    computed = power(plan, 4, 24).power
    assert 0.4 < computed < 0.9
    assert preference_rates(0.72, 4, 24, seed=6) == pytest.approx(computed, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("endpoint", "judge"), [(ROC, differs), (NONINFERIORITY, noninferior)])
def test_power_of_roc_studies_is_as_computed(endpoint, judge):
    plan = Plan(endpoint, area=0.8, difference=0.1, simulations=STUDIES, seed=7)
    computed = power(plan, 4, 40).power
    assert 0.3 < computed < 0.97
    assert roc_rates((0.8, 0.9), 4, 40, judge, seed=8) == pytest.approx(computed, abs=0.1)


def observed(tmp_path, looks, cases=60, readers=3):
    """A study that model observers read, image by image."""
    table = write_cases(tmp_path, looks, cases, seed=1)
    study, key, folder = make_study(
        tmp_path, table, ("lesion",), kind=RATING, readers=readers, repeats=0.1, training=2, seed=4
    )
    paths = [Observer(looks, seed=10 + number).read(folder, study, f"R{number + 1}") for number in range(readers)]
    return analyse(study, key, [read_answers(path, study) for path in paths], Options()), folder, paths


@pytest.mark.slow
def test_a_planted_difference_is_recovered_by_model_observers(tmp_path, capsys):
    result, folder, paths = observed(tmp_path, {"low": LOW, "denoised": DENOISED})
    found = result.roc.analysis.comparisons[0].best
    assert found.value > 0.05
    assert found.p < 0.01
    assert result.roc.noninferior["denoised"][1]
    assert (result.roc.area[1] > result.roc.area[0]).all()
    output = tmp_path / "report"
    assert main(["readers", "analyse", str(folder), *map(str, paths), "--output", str(output)]) == 0
    page = (output / "report.html").read_text(encoding="utf-8")
    assert f"{result.roc.area[1].mean():.3f}" in page
    assert f"{found.value:+.4f}" in (output / "roc_difference.tsv").read_text(encoding="utf-8")
    assert "non-inferior" in capsys.readouterr().out


@pytest.mark.slow
def test_model_observers_find_no_difference_where_there_is_none(tmp_path):
    result, *_ = observed(tmp_path, {"low": LOW, "denoised": LOW})
    assert result.roc.analysis.comparisons[0].best.p > 0.05


def test_a_better_observer_has_a_larger_area():
    rng = np.random.default_rng(0)
    looks, areas = {"denoised": DENOISED}, []
    for internal in (0.0, 3.0):
        observer = Observer(looks, internal)
        with_, without = ([observer.rate(f) for f in (_draw(t, rng) for _ in range(80))] for t in (True, False))
        areas.append(np.mean([(a > b) + 0.5 * (a == b) for a in with_ for b in without]))
    assert areas[0] > areas[1] + 0.1


def _draw(lesion, rng):
    from model_observer import draw

    return draw(DENOISED, lesion, rng)


@pytest.fixture
def pairs(tmp_path):
    """A study of pairs in which everybody prefers full to denoised to low, but now and then."""
    table = write_table(tmp_path, cases=12)
    study, key, folder = make_study(tmp_path, table, kind=PAIRS, readers=3, ties=True, repeats=0.3)
    rng, rank = np.random.default_rng(3), {"full": 2, "denoised": 1, "low": 0}

    def rule(_reader, shown, _scale):
        if rng.random() < 0.15:
            return int(rng.integers(1, 4))
        return 1 if rank[shown.methods[0]] > rank[shown.methods[1]] else 2

    return study, key, folder, answer_all(study, key, folder, rule)


@pytest.mark.slow
def test_report_of_pairs(pairs, tmp_path, capsys):
    _, _, folder, paths = pairs
    output = tmp_path / "report"
    command = ["readers", "analyse", str(folder), *map(str, paths), "--output", str(output), "--reference", "low"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "This shows a preference for full" in said
    assert "prefer" in said
    page = (output / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert page.count("<svg") == 2
    scores = (output / "bradley_terry.tsv").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in scores[1:]] == ["full", "denoised", "low"]
    kappas = (output / "agreement_within.tsv").read_text(encoding="utf-8").splitlines()
    assert len(kappas) == 1 + 3


@pytest.mark.slow
def test_report_of_ratings(tmp_path, capsys):
    table = write_table(tmp_path, cases=10, methods=("low", "denoised"))
    study, key, folder = make_study(tmp_path, table, ("noise", "lesion"), readers=3)
    level = {"denoised": 4, "low": 2}
    rng = np.random.default_rng(1)

    def rule(_reader, shown, scale):
        value = level[shown.methods[0]] if scale == "noise" else 1 + 3 * key.truth[shown.case]
        return int(np.clip(value + rng.integers(-1, 2), 1, 5))

    paths = answer_all(study, key, folder, rule)
    output = tmp_path / "report"
    assert main(["readers", "analyse", str(folder), *map(str, paths), "--output", str(output)]) == 0
    assert "denoised was rated" in capsys.readouterr().out
    result = analyse(study, key, [read_answers(path, study) for path in paths], Options())
    noise = {(each.first, each.second): each for each in result.ratings if each.scale == "noise"}
    assert noise["low", "denoised"].difference.value == pytest.approx(-2, abs=0.5)
    assert noise["low", "denoised"].p_holm < 0.05
    assert {each.scale for each in result.correlations} == {"noise", "lesion"}
    assert result.roc.area.min() > 0.8
    assert (output / "roc.png").stat().st_size > 1000


def test_training_and_repeats_do_not_count(pairs):
    study, key, _, paths = pairs
    result = analyse(study, key, [read_answers(path, study) for path in paths], Options())
    assert result.cases == 11
    assert all(each.wins + each.ties + each.losses == 3 * 11 for each in result.preferences)
    assert [(reader.answered, reader.due) for reader in result.readers] == [(33 + 10, 43)] * 3


def test_sides_do_not_matter_but_are_reported(tmp_path):
    table = write_table(tmp_path, cases=12, methods=METHODS[:2])
    study, key, folder = make_study(tmp_path, table, kind=PAIRS, readers=2, training=0)
    paths = answer_all(study, key, folder, lambda *_: 1)
    result = analyse(study, key, [read_answers(path, study) for path in paths], Options())
    assert result.preferences[0].share.value == pytest.approx(0.5)
    assert result.left[0] == result.left[1]


def test_a_key_or_a_study_of_another_is_refused(pairs, tmp_path, capsys):
    _, _, folder, paths = pairs
    command = ["readers", "analyse", str(folder), str(paths[0]), "--output", str(tmp_path / "out")]
    assert main([*command[:3], str(paths[0]), *command[3:]]) == 2
    assert "two answers files" in capsys.readouterr().err
    key = key_path_of(folder)
    key.write_text(key.read_text(encoding="utf-8").replace('"study": "', '"study": "x'), encoding="utf-8")
    assert main(command) == 2
    assert "belongs to study" in capsys.readouterr().err


def test_a_full_disk_leaves_no_part_of_a_report_and_the_former_one(pairs, tmp_path):
    """Tables would still fit, and figures not."""
    _, _, folder, paths = pairs
    out = tmp_path / "out"
    command = ["readers", "analyse", str(folder), *map(str, paths), "--output", str(out)]
    out.mkdir()
    (out / "report.html").write_text("former", encoding="utf-8")
    with full_disk(5000):
        assert main(command) == 2
    assert [(path.name, path.read_text(encoding="utf-8")) for path in out.iterdir()] == [("report.html", "former")]


def test_a_reader_who_has_just_begun_is_named(pairs):
    study, key, _, paths = pairs
    answers = [read_answers(path, study) for path in paths]
    begun = Answers(study.id, "R3", "", answers[2].answers[:2])
    with pytest.raises(InputError, match="every reader"):
        analyse(study, key, [*answers[:2], begun], Options())
    training = Answers(study.id, "R3", "", answers[2].answers[:1])
    assert key.trials[training.answers[0].trial].training
    with pytest.raises(InputError, match="R3 has answered nothing but training"):
        analyse(study, key, [*answers[:2], training], Options())


def test_power_on_the_command_line(capsys):
    command = ["readers", "power", "--cases", "10", "40", "--readers", "3", "--preference", "0.8"]
    assert main([*command, "--simulations", "60"]) == 0
    said = capsys.readouterr().out
    small, large = (int(value) for value in re.findall(r"(\d+) % \(", said)[:2])
    assert small < large
    assert main(["readers", "power", "--preference", "1.2"]) == 2
