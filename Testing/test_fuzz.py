"""500 inputs that nobody thought of: each ends in a good result or in one sentence, and a sentence leaves no output.

The cases are drawn anew from the same seed in every run, so a failure comes back.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import head_array
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_files import SUFFIXES, TYPES, OddVolume
from test_read import SLICES, write_series

from CSRDDenoiseLib.denoise import FileRequest, denoise_files
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.read import read_volume
from CSRDDenoiseLib.model.bundle import Model, load_model
from CSRDDenoiseLib.settings import DenoiseSettings, settings_from_fields

CASES = {"geometry": 140, "damage": 110, "series": 50, "settings": 80, "run": 120}
MOST_VOXELS, MOST_MODEL_VOXELS = 120_000, 60_000
CONTENTS = ("head", "head", "head", "noise", "zero", "constant", "negative", "one voxel")
HOLES = ("none", "none", "voxel", "slice", "checkerboard", "infinity", "all")


def cases(of: str):
    """Run a test on so many cases as CASES says, the same in every run."""
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=CASES[of], deadline=None, derandomize=True, suppress_health_check=quiet, database=None)


def check_sentence(error: InputError) -> None:
    """What a user reads: one line, with an end, not a dump."""
    text = str(error)
    assert text.endswith((".", "?")) and "\n" not in text, text
    assert 20 < len(text) < 700 and "Traceback" not in text, text


@pytest.fixture
def place(tmp_path) -> Callable[[], Path]:
    """Makes a folder that is new for every case."""
    counter = itertools.count()

    def make() -> Path:
        folder = tmp_path / str(next(counter))
        folder.mkdir()
        return folder

    return make


@pytest.fixture(scope="module")
def model(model_folder) -> Model:
    return load_model(model_folder)


@st.composite
def axes(draw) -> np.ndarray:
    """Direction cosines: any rotation or reflection, and now and then something that is neither."""
    quaternion = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    length = np.linalg.norm(quaternion)
    w, x, y, z = quaternion / length if length > 1e-3 else (1.0, 0.0, 0.0, 0.0)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    kind = draw(st.sampled_from(("turned", "turned", "turned", "mirrored", "upright", "sheared", "flat")))
    if kind == "upright":
        return np.eye(3)[list(draw(st.permutations(range(3))))]
    changes = {"turned": np.eye(3), "mirrored": np.diag([1.0, 1.0, -1.0]), "flat": np.diag([1.0, 1.0, 0.0])}
    return turn @ changes.get(kind, np.array([[1.0, 0.4, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))


@st.composite
def volumes(draw, most_voxels: int = MOST_VOXELS, most_model_voxels: float = np.inf) -> OddVolume:
    """Volumes of 1 to 200 voxels of 0.5 to 8 mm a side, of any type and content."""
    shape = [draw(st.one_of(st.integers(8, 40), st.integers(1, 200))) for _ in range(3)]
    spacing = [draw(st.floats(0.5, 8.0)) for _ in range(3)]
    while np.prod(shape) > most_voxels or np.prod(np.multiply(shape, spacing[::-1])) / 8 > most_model_voxels:
        shape[int(np.argmax(np.multiply(shape, spacing[::-1])))] //= 2
    shape = [max(n, 1) for n in shape]
    kind = draw(st.sampled_from(TYPES))
    array = content(draw(st.sampled_from(CONTENTS)), shape, draw(st.integers(0, 99)))
    array = array * draw(st.sampled_from((1e-6, 1e-2, 1.0, 1.0, 1e6)))
    if kind[0] == "f":
        array = with_holes(array, draw(st.sampled_from(HOLES)))
    else:
        limits = np.iinfo(kind)
        array = np.clip(array, max(limits.min, -(2**31)), min(limits.max, 2**31 - 1))
    with np.errstate(over="ignore"):
        stored = array.astype(draw(st.sampled_from("<>")) + kind)
    origin = [draw(st.floats(-900, 900)) for _ in range(3)]
    return OddVolume(stored, tuple(spacing), tuple(origin), draw(axes()))


def content(kind: str, shape: list[int], seed: int) -> np.ndarray:
    if kind == "zero":
        return np.zeros(shape)
    if kind == "constant":
        return np.full(shape, 7.0)
    if kind == "noise":
        return np.random.default_rng(seed).normal(100, 30, shape)
    if kind == "one voxel":
        array = np.zeros(shape)
        array[tuple(n // 2 for n in shape)] = 5000
        return array
    head = head_array(tuple(shape), seed).astype(float)
    return -head if kind == "negative" else head


def with_holes(array: np.ndarray, kind: str) -> np.ndarray:
    array = array.copy()
    middle = tuple(n // 2 for n in array.shape)
    if kind == "voxel":
        array[middle] = np.nan
    elif kind == "slice":
        array[middle[0]] = np.nan
    elif kind == "checkerboard":
        array[np.indices(array.shape).sum(0) % 2 == 0] = np.nan
    elif kind == "infinity":
        array[middle], array[0, 0, 0] = np.inf, -np.inf
    elif kind == "all":
        array[:] = np.nan
    return array


# -- files


@pytest.mark.slow
@cases("geometry")
@given(volume=volumes(), suffix=st.sampled_from(SUFFIXES))
def test_any_volume_is_read_as_it_lies_or_refused(place, volume, suffix):
    path = volume.write(place() / f"pet{suffix}")
    try:
        image = read_volume(path, "PET")
    except InputError as error:
        check_sentence(error)
        return
    finally:
        shutil.rmtree(path.parent)
    assert image.GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64)
    expected = volume.array.astype(sitk.GetArrayViewFromImage(image).dtype)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
    grid = Grid.of(image)
    directions = np.reshape(grid.direction, (3, 3))
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-4)
    ends = np.array([grid.point((0, 0, 0)), grid.point([n - 1 for n in grid.size])])
    np.testing.assert_allclose(ends, volume.corners(), atol=0.05)


@pytest.mark.slow
@cases("damage")
@given(
    volume=volumes(most_voxels=4000),
    suffix=st.sampled_from(SUFFIXES),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
def test_damaged_file_is_read_or_refused(place, volume, suffix, cut, flips):
    path = volume.write(place() / f"pet{suffix}")
    content = bytearray(path.read_bytes())
    for where, value in flips:
        content[where % len(content)] = value
    if cut is not None:
        content = content[: int(cut * len(content))]
    path.write_bytes(content)
    try:
        image = read_volume(path, "PET")
    except InputError as error:
        check_sentence(error)
    else:
        assert image.GetDimension() == 3 and min(image.GetSize()) >= 2
        assert cut is None or cut == 1 or flips
    finally:
        shutil.rmtree(path.parent)


@cases("series")
@given(
    lost=st.sets(st.integers(0, SLICES - 1), max_size=SLICES),
    doubled=st.one_of(st.none(), st.integers(0, SLICES - 1)),
    cut=st.one_of(st.none(), st.tuples(st.integers(0, SLICES - 1), st.floats(0, 0.99))),
    stranger=st.one_of(st.none(), st.binary(max_size=600)),
)
def test_any_series_is_read_whole_or_refused(place, lost, doubled, cut, stranger):
    folder = place() / "series"
    values = write_series(folder, skip=tuple(lost))
    if doubled is not None and doubled not in lost:
        shutil.copy(folder / f"1_{doubled}.dcm", folder / "again.dcm")
    if cut is not None and cut[0] not in lost:
        path = folder / f"1_{cut[0]}.dcm"
        path.write_bytes(path.read_bytes()[: int(cut[1] * path.stat().st_size)])
    if stranger is not None:
        (folder / "notes").write_bytes(stranger)
    whole = np.delete(values, sorted(lost), axis=0)
    try:
        image = read_volume(folder, "PET")
    except InputError as error:
        check_sentence(error)
    else:
        np.testing.assert_allclose(sitk.GetArrayFromImage(image), whole, rtol=1e-6)
        kept = np.setdiff1d(range(SLICES), list(lost))
        assert np.unique(np.diff(kept)).size <= 1, "a gap between slices was not seen"
    finally:
        shutil.rmtree(folder.parent)


# -- settings

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 300),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["dpmpp", "heun", "mean", "auto", "cpu", "cuda", "cuda:99", "mps", "cpu:x"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=1),
)


@pytest.mark.slow
@cases("settings")
@given(chosen=st.dictionaries(st.sampled_from([each.name for each in fields(DenoiseSettings)]), ANYTHING, max_size=4))
def test_any_settings_are_taken_or_refused_before_any_work(chosen):
    try:
        found = settings_from_fields(chosen)
    except InputError as error:
        check_sentence(error)
        return
    assert found.evaluations >= 1 and isinstance(found.evaluations, int)
    assert isinstance(found.has_uncertainty, bool)
    assert isinstance(found.seed, int) and 0 <= found.seed < 2**63
    assert isinstance(found.device, str) and found.sampler in ("dpmpp", "heun", "mean")


# -- whole runs


@pytest.mark.slow
@cases("run")
@given(
    pet=volumes(most_voxels=30_000, most_model_voxels=MOST_MODEL_VOXELS),
    mr=st.one_of(st.none(), st.none(), st.none(), volumes(most_voxels=8000, most_model_voxels=MOST_MODEL_VOXELS)),
    mr_at_pet=st.booleans(),
    suffixes=st.tuples(st.sampled_from(SUFFIXES), st.sampled_from(SUFFIXES)),
    chosen=st.fixed_dictionaries(
        {},
        optional={
            "nan_to_zero": st.booleans(),
            "sampler": st.sampled_from(("mean", "dpmpp", "heun")),
            "overlap": st.floats(0, 0.9),
            "patch_size": st.sampled_from((None, 24, 30, 1000)),
            "seed": st.integers(0, 2**63 - 1),
        },
    ),
)
def test_any_run_ends_with_a_result_on_the_pet_grid_or_with_nothing(place, model, pet, mr, mr_at_pet, suffixes, chosen):
    folder = place()
    files = {"pet": pet.write(folder / f"pet{suffixes[0]}")}
    if mr is not None:
        middle = pet.corners().mean(0) - mr.corners().mean(0)
        moved = OddVolume(mr.array, mr.spacing, tuple(np.add(mr.origin, middle)), mr.axes)
        files["mr"] = (moved if mr_at_pet else mr).write(folder / f"mr{suffixes[0]}")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    request = FileRequest(output=folder / f"out{suffixes[1]}", difference=folder / "difference.nrrd", **files)
    try:
        result = denoise_files(request, DenoiseSettings(**{"steps": 2, "samples": 2, "device": "cpu", **chosen}), model)
    except InputError as error:
        check_sentence(error)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    else:
        written = read_volume(request.output)
        assert np.isfinite(sitk.GetArrayViewFromImage(written)).all()
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(written), sitk.GetArrayViewFromImage(result.denoised))
        assert result.denoised.GetSize() == pet.array.shape[::-1]
        assert all(warning.endswith((".", "?")) for warning in result.warnings)
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in before} == before
    finally:
        shutil.rmtree(folder)
