"""Small reader studies for the tests: a table of images, and answers that a rule gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable, Sequence

import numpy as np
import SimpleITK as sitk

from CSRDDenoiseLib.readers.answers import Answer, Answers, answers_name, write_answers
from CSRDDenoiseLib.readers.design import DesignOptions, design
from CSRDDenoiseLib.readers.key import Key, TrialKey, key_path_of, read_key
from CSRDDenoiseLib.readers.plan import PlanOptions
from CSRDDenoiseLib.readers.scales import scales_of
from CSRDDenoiseLib.readers.study import RATING, Study, read_study
from CSRDDenoiseLib.readers.table import read_table

METHODS = ("full", "low", "denoised")
BEGIN = datetime(2025, 1, 1, 9, tzinfo=timezone.utc)


def write_image(array: np.ndarray, path: Path) -> None:
    """An oblique image with things in its header that must not reach readers."""
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing((2.0, 2.5, 3.0))
    image.SetOrigin((-11.0, 7.0, 30.0))
    turn = sitk.VersorTransform((1.0, 2.0, 3.0), 0.2)
    image.SetDirection(turn.GetMatrix())
    image.SetMetaData("descrip", "DOE^JANE low dose")
    image.SetMetaData("intent_name", "DOE^JANE")
    sitk.WriteImage(image, str(path))


def write_table(folder: Path, cases: int = 6, methods: Sequence[str] = METHODS, mr: bool = False) -> Path:
    """A table of small noisy heads; odd cases have a lesion."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (6, 10, 12)), indexing="ij")
    head = (x**2 + y**2 + z**2 < 0.8).astype(float)
    lines = ["\t".join(["case", *methods, *(["mr"] if mr else []), "lesion"])]
    for case in range(cases):
        cells = [f"Doe_{case}"]
        for noise, method in enumerate([*methods, *(["mr"] if mr else [])]):
            path = folder / f"doe_{case}_{method}.nii.gz"
            write_image(1000 * head * rng.normal(1, 0.05 * (noise + 1), head.shape), path)
            cells.append(path.name)
        lines.append("\t".join([*cells, str(case % 2)]))
    table = folder / "table.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def make_study(folder: Path, table: Path, scales: Sequence[str] = (), **changes) -> tuple[Study, Key, Path]:
    """A study of a table, its key and its folder; ``changes`` go to the plan and the design."""
    plan = PlanOptions(**{"kind": RATING, "readers": 2, "seed": 3, **_some(changes, PlanOptions)})
    kind_scales = scales_of(plan.kind, scales, ties=changes.pop("ties", False))
    options = DesignOptions(plan, kind_scales, **{"training": 1, "washout_days": 0, **_some(changes, DesignOptions)})
    target = folder / "study"
    design(table, read_table(table), target, key_path_of(target), options)
    return read_study(target), read_key(key_path_of(target)), target


def answer_all(study: Study, key: Key, folder: Path, rule: Callable[[str, TrialKey, str], int]) -> list[Path]:
    """Write the answers of every reader: ``rule(reader, what is shown, scale)`` gives the choice."""
    paths = []
    for reading in study.readings:
        answers = Answers(study.id, reading.reader, "test")
        for number, trial in enumerate(reading.trials):
            shown = key.trials[trial.id]
            values = {scale.name: rule(reading.reader, shown, scale.name) for scale in study.scales}
            at = (BEGIN + timedelta(minutes=number)).isoformat()
            answers = replace(answers, answers=(*answers.answers, Answer(trial.id, values, 5.0, at)))
        paths.append(folder / answers_name(reading.reader))
        write_answers(answers, paths[-1])
    return paths


def _some(changes: dict, kind: type) -> dict:
    return {name: changes[name] for name in list(changes) if name in kind.__dataclass_fields__ and name != "scales"}
