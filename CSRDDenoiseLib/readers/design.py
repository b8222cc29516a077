"""Design a study: a table of images becomes a folder for readers, and a key that stays at home."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

import numpy as np

from ..digests import digest_of_files
from ..errors import InputError
from ..io.read import read_volume
from ..io.record import versions
from .images import centre_of, read_case, unequal_means, window_of, write_blind
from .key import Key, TrialKey, write_key
from .plan import PlanOptions, Showing, plan_readings
from .scales import LESION
from .study import IMAGES, STUDY_FILE, Reading, Scale, Study, Trial, write_checksums, write_study
from .table import Case

SUFFIX = ".nii"
LONGEST_WASHOUT = 3650
"""Days; a study of more is a mistake."""
TRAINING = 2
"""Training cases of a study whose table marks none."""


@dataclass(frozen=True)
class DesignOptions:
    """What a study is, beside its plan.

    Attributes:
        plan: counterbalancing, repeats, blocks, seed.
        scales: what is asked.
        title: what readers see; it should name no method.
        training: number of training cases to draw by the seed, beside those the table marks; None draws
            :data:`TRAINING` where it marks none.
        washout_days: days between two blocks.
    """

    plan: PlanOptions
    scales: tuple[Scale, ...]
    title: str = "Reader study"
    training: Optional[int] = None
    washout_days: float = 14.0

    def __post_init__(self) -> None:
        if (self.training or 0) < 0 or not 0 <= self.washout_days <= LONGEST_WASHOUT:
            raise InputError(
                f"The training cases ({self.training}) must be 0 or more, the washout days ({self.washout_days}) 0 to "
                f"{LONGEST_WASHOUT}."
            )


@dataclass(frozen=True)
class _Shown:
    """How a case looks to readers: a file name a method, and what its trials share."""

    files: Mapping[str, str]
    window: tuple[float, float]
    centre: tuple[float, float, float]
    mr: str


def design(
    table: Path, cases: Sequence[Case], folder: Path, key_path: Path, options: DesignOptions
) -> tuple[Study, list[str]]:
    """Write a study and its key, both or none.

    Args:
        table: where the cases come from, for the record.
        cases: of the study and of its training.
        folder: of the study; must not exist.
        key_path: of the key, outside ``folder``; must not exist.
        options: of the study.

    Returns:
        The study, and sentences about what may unblind it.

    Raises:
        InputError: an image cannot be used, or one of the places is taken or lies in the other.
    """
    _check_places(folder, key_path)
    _check_truth(cases, options.scales)
    training, counted = _split(cases, options)
    methods = tuple(cases[0].images)
    readings = plan_readings([case.name for case in counted], [case.name for case in training], methods, options.plan)
    names = _Names(options.plan.seed)
    with _whole_folder(folder) as target:
        (target / IMAGES).mkdir()
        shown, warnings = _write_images(cases, target / IMAGES, names)
        study, trials = _study(readings, shown, options, names)
        write_study(study, target)
        write_checksums(target)
        images = {file: (name, method) for name, each in shown.items() for method, file in each.files.items()}
        truth = {case.name: case.lesion for case in cases if case.lesion is not None}
        origin = {"table": str(table.resolve()), "sha256": digest_of_files(table), "versions": versions()}
        digest = digest_of_files(target / STUDY_FILE)
        write_key(Key(study.id, digest, options.plan.seed, methods, trials, images, truth, origin), key_path)
    return study, warnings


class _Names:
    """Random names, never one twice; 48 bits of them."""

    def __init__(self, seed: int):
        # a stream of its own: how many names are drawn must not change the plan
        self._rng = np.random.default_rng([seed, 1])
        self._given: set[str] = set()

    def __call__(self) -> str:
        name = self._rng.bytes(6).hex()
        if name in self._given:
            return self()
        self._given.add(name)
        return name

    def order(self, count: int) -> list[int]:
        return [int(i) for i in self._rng.permutation(count)]


def _check_places(folder: Path, key_path: Path) -> None:
    for path in (folder, key_path):
        if path.exists():
            raise InputError(f"'{path}' exists already; a study given out must not change. Choose another name.")
        if not path.parent.is_dir():
            raise InputError(f"The folder '{path.parent}' does not exist.")
    if folder.resolve() in key_path.resolve().parents:
        raise InputError(f"The key '{key_path}' would lie in the folder that readers get. Choose a place outside it.")


def _check_truth(cases: Sequence[Case], scales: Sequence[Scale]) -> None:
    unknown = [case.name for case in cases if case.lesion is None]
    if unknown and any(scale.name == LESION for scale in scales):
        raise InputError(f"The scale '{LESION}' needs the truth of every case; column '{LESION}' lacks '{unknown[0]}'.")


def _split(cases: Sequence[Case], options: DesignOptions) -> tuple[list[Case], list[Case]]:
    marked = [case for case in cases if case.training]
    others = [case for case in cases if not case.training]
    usual = 0 if marked else TRAINING
    count = usual if options.training is None else options.training
    drawn = np.random.default_rng([options.plan.seed, 2]).permutation(len(others))[:count]
    training = marked + [others[i] for i in sorted(drawn)]
    return training, [case for i, case in enumerate(others) if i not in drawn]


def _write_images(cases: Sequence[Case], folder: Path, names: _Names) -> tuple[dict[str, _Shown], list[str]]:
    shown, warnings = {}, []
    # in a random order: the order in a folder must not be that of the table
    for place in names.order(len(cases)):
        case = cases[place]
        images = read_case(case)
        files = {method: f"{names()}{SUFFIX}" for method in images}
        for method in sorted(images, key=lambda method: files[method]):
            write_blind(images[method], folder / files[method])
        mr = _write_mr(case, folder, names)
        volumes = list(images.values())
        shown[case.name] = _Shown(files, window_of(volumes), case.point or centre_of(volumes), mr)
        unequal = unequal_means(images)
        if unequal:
            low, high, ratio = unequal
            warnings.append(
                f"Case '{case.name}': the mean of '{high}' is {ratio:.2f} times that of '{low}'; readers may know the "
                "method by its brightness."
            )
    return shown, warnings


def _write_mr(case: Case, folder: Path, names: _Names) -> str:
    if case.mr is None:
        return ""
    file = f"{names()}{SUFFIX}"
    write_blind(read_volume(case.mr, "MR"), folder / file)
    return file


def _study(
    readings: Sequence[Sequence[Showing]], shown: Mapping[str, _Shown], options: DesignOptions, names: _Names
) -> tuple[Study, dict[str, TrialKey]]:
    keys: dict[str, TrialKey] = {}
    made = []
    for number, showings in enumerate(readings, 1):
        trials = []
        for each in showings:
            look, name = shown[each.case], names()
            files = tuple(look.files[method] for method in each.methods)
            trials.append(Trial(name, files, look.window, look.centre, each.block, each.training, look.mr))
            keys[name] = TrialKey(each.case, each.methods, each.training, each.repeat)
        made.append(Reading(f"R{number}", tuple(trials)))
    study = Study(names(), options.title, options.plan.kind, options.scales, options.washout_days, tuple(made))
    return study, keys


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``folder`` that gets its name when the body succeeds."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    made = temporary / "study"
    try:
        made.mkdir()
        yield made
        made.rename(folder)
    except OSError as error:
        raise InputError(f"The study cannot be written to '{folder}': {error}. Nothing was written.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
