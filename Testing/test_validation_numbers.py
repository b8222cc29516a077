"""The numbers of a validation, from results that are made up: unrounded in JSON, the same in every table."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from CSRDDenoiseLib.research.evaluation.markdown import Table, to_markdown
from CSRDDenoiseLib.research.evaluation.methods import INPUT
from CSRDDenoiseLib.research.validation.choice import ON_OTHERS, choose, measurements
from CSRDDenoiseLib.research.validation.comparison import agreements_of, gains_of
from CSRDDenoiseLib.research.validation.frequency import Band, common_bands
from CSRDDenoiseLib.research.validation.report import RESULTS, files_of
from CSRDDenoiseLib.research.validation.result import Measured, Region, ScanResult, Split, SubjectResult

MODEL, FILTER = "net", "Gaussian"
REGIONS = (Region(1, "left | caudate", 3.0), Region(2, "", 5.0))
ABOUT = {"failed": {}}
EDGES = ((0.0, 0.02), (0.02, 0.04), (0.04, 0.06))


def bands(rng: np.random.Generator, edges=EDGES) -> tuple[Band, ...]:
    return tuple(Band(low, high, *rng.uniform(0.5, 1.5, 3).tolist()) for low, high in edges)


def measured(rng: np.random.Generator, method: str, setting=None) -> Measured:
    scores = {"psnr": float(rng.normal(30, 1)), "nrmse": float(rng.uniform(0.1, 0.2))}
    return Measured(method, setting, scores, tuple(rng.uniform(0.8, 1.2, 2).tolist()), bands(rng), 1.0)


@pytest.fixture(scope="module")
def results() -> list[SubjectResult]:
    """Six subjects with two scans each, their noise known."""
    rng, found = np.random.default_rng(0), []
    for number in range(6):
        scans, splits = [], []
        for replicate in range(2):
            methods = [measured(rng, INPUT), measured(rng, MODEL)]
            methods += [measured(rng, FILTER, setting) for setting in (2.0, 4.0)]
            full = tuple(rng.uniform(0.8, 1.2, 2).tolist())
            scans.append(
                ScanResult(f"S{number}-{replicate}", "1/4", REGIONS, full, tuple(methods), 40.0 + replicate, ())
            )
        for method, setting in ((INPUT, None), (MODEL, None), (FILTER, 2.0), (FILTER, 4.0)):
            splits.append(Split("1/4", method, setting, *rng.uniform(0.01, 0.02, 2).tolist(), 1))
        found.append(SubjectResult(f"S{number}", tuple(scans), tuple(splits)))
    return found


@pytest.fixture(scope="module")
def files(results) -> dict[str, str]:
    made = files_of(choose(results), results, [MODEL], ABOUT, {f"S{n}": _NoPicture() for n in range(6)})
    return {name: content.decode() for name, content in made.items()}


class _NoPicture:
    def is_file(self) -> bool:
        return False


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_json_has_every_number_of_the_tables_unrounded(files):
    values = json.loads(files[RESULTS])
    for entry, row in zip(values["gains"], rows(files["gains.csv"])):
        assert (entry["dose"], entry["method"], entry["over"]) == (row["dose"], row["method"], row["over"])
        factor = 100 if "%" in row["score"] else 1
        gain, (low, high) = entry["gain"], row["95 % interval"].split(" to ")
        for number, text in ((gain["mean"], row["gain"]), (gain["low"], low), (gain["high"], high)):
            assert float(text) == pytest.approx(factor * number, abs=0.00501)
        assert float(row["p (Wilcoxon)"]) == pytest.approx(gain["p"], rel=0.05) and int(row["n"]) == gain["count"] == 6
    for entry, row in zip(values["agreement"], rows(files["agreement.csv"])):
        assert float(row["bias"]) == pytest.approx(entry["bias"], abs=1e-4)
        assert float(row["ICC(2,1)"]) == pytest.approx(entry["icc"], abs=1e-4)
        assert row["limits of agreement"] == f"{entry['low']:+.4f} to {entry['high']:+.4f}"
        assert int(row["n"]) == entry["count"] == 24
    for entry, row in zip(values["bias_variance"], rows(files["bias_variance.csv"])):
        assert float(row["noise (%)"]) == pytest.approx(100 * entry["noise"], abs=0.006)
        assert float(row["error to noise-free (%)"]) == pytest.approx(100 * entry["total"], abs=0.006)
    lengths = {name: len(values[name]) for name in ("gains", "agreement", "bias_variance", "ceilings")}
    assert lengths == {"gains": 4, "agreement": 4, "bias_variance": 4, "ceilings": 6}
    assert values["ceilings"][0] == {"subject": "S0", "dose": "1/4", "psnr": 40.5}


def test_gains_and_agreement_are_those_of_the_textbook(results):
    chosen = choose(results)
    by_name = {
        name: np.array([each.measurement.scores["psnr"] for each in chosen if each.method == name])
        for name in (MODEL, INPUT)
    }
    difference = by_name[MODEL] - by_name[INPUT]
    (gain,) = (each.gain for each in gains_of(chosen, [MODEL]) if each.score == "psnr" and each.over == INPUT)
    assert gain.mean == pytest.approx(difference.mean()) and gain.p == stats.wilcoxon(difference).pvalue
    ours, full = (
        np.array([value for result in results for scan in result.scans for value in values(scan)])
        for values in (lambda scan: scan.measured[1].regions, lambda scan: scan.full)
    )
    (found,) = (each for each in agreements_of(chosen) if each.method == MODEL)
    assert found.bias == pytest.approx((ours - full).mean())
    assert found.high == pytest.approx((ours - full).mean() + 1.96 * (ours - full).std(ddof=1))
    # two-way analysis of variance by sums of squares (McGraw and Wong 1996, table 4, case 2A)
    both = np.stack([ours, full], axis=1)
    total, count = ((both - both.mean()) ** 2).sum(), len(ours)
    of_rows = 2 * ((both.mean(1) - both.mean()) ** 2).sum()
    of_columns = count * ((both.mean(0) - both.mean()) ** 2).sum()
    between, judges, rest = of_rows / (count - 1), of_columns, (total - of_rows - of_columns) / (count - 1)
    assert found.icc == pytest.approx((between - rest) / (between + rest + 2 * (judges - rest) / count))


def test_a_name_with_a_bar_stays_in_its_cell(files):
    lines = [line for line in files["regions.md"].splitlines() if line.startswith("|")]
    assert "1 left \\| caudate" in lines[2]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert to_markdown(Table("", ("a|b",), (("c",),))).count("\\|") == 1


def test_the_ceiling_is_one_a_subject_and_dose(results):
    found = measurements(choose(results))
    assert [each.scores["psnr"] for each in found if each.method == "Ceiling"] == [40.5] * 6
    assert sum(each.method == f"{FILTER}, {ON_OTHERS}" for each in found) == 6


def test_bands_are_averaged_with_those_of_their_own_edges():
    rng = np.random.default_rng(1)
    whole, without = bands(rng), bands(rng, (EDGES[0], EDGES[2]))
    found = common_bands([whole, without])
    assert [[band.low for band in each] for each in found] == [[0.0, 0.0], [0.04, 0.04]]
    assert common_bands([]) == []
