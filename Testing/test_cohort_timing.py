"""Cohorts against single commands, and as they grow: ratios within one run, with wide limits."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.research.benchmark.cohort import (
    CohortConfig,
    cohort_table,
    more_a_scan,
    run_against_single,
    run_overhead,
)
from CSRDDenoiseLib.research.evaluation.markdown import to_markdown

pytestmark = [pytest.mark.slow, pytest.mark.timing]


def test_two_workers_are_faster_than_single_commands(model_folder):
    results = run_against_single(CohortConfig([8], model=str(model_folder)))
    print(to_markdown(cohort_table(results)))
    (run,) = results["runs"]
    assert run["ratio"] >= 1.7, run
    assert cohort_table(results).rows[0][0] == "8"


def test_a_scan_costs_the_same_in_a_larger_cohort():
    """In the processor's time, which other programs on the machine change little.

    A cost that grew with the cohort would be three times as large. The starts of two runs differ by up to a second.
    """
    few_scans, more_scans, most_scans = 5, 25, 65
    results = run_overhead(CohortConfig([few_scans, more_scans, most_scans]))
    print(to_markdown(cohort_table(results)))
    _, few, many = more_a_scan(results)
    assert many <= 2 * few + 1 / (most_scans - more_scans), results
    memory = [run["peak_bytes"] for run in results["runs"]]
    assert memory[2] <= 1.3 * memory[0]
