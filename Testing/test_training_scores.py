"""``train --score``: what a model is scored against, on which phantoms, and where its rule goes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from phantom_pool import SPACING, write_phantom

from CSRDDenoiseLib.measures import psnr
from CSRDDenoiseLib.research.training import scoring
from CSRDDenoiseLib.research.training.pool import Pool

BARE = float("inf")


@pytest.fixture
def pool(tmp_path) -> Pool:
    pool = Pool(tmp_path / "pool", None, (), (1 / 2,), SPACING, 0)
    write_phantom(pool)
    return pool


# -- what a model is scored against


@pytest.mark.parametrize(("target", "known"), [("full-dose", 0.0), ("noise-free", 0.5)])
def test_an_estimate_of_the_full_dose_is_compared_with_it_as_it_is(pool, monkeypatch, target, known):
    seen = []

    def estimate(model, scene):
        # the full dose but for 0.01, or the noise-free image that leads to it
        seen.append(scene)
        return ((scene.full_dose - known * scene.low_dose) / (1 - known) + np.float32(0.01)).astype(np.float32)

    monkeypatch.setattr(scoring, "bare_estimate", estimate)
    model = SimpleNamespace(metadata=SimpleNamespace(target=target))
    (row,) = scoring.score_pool(model, pool, [0])
    (scene,) = seen
    own = psnr(scene.full_dose + np.float32(0.01 * (1 - known)), scene.full_dose, scene.mask)
    assert row.ours[BARE].psnr_full == pytest.approx(own, abs=0.01) and own > 40
