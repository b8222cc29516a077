"""The Python of the pages about Slicer runs as printed, one piece after the other, as when it is pasted."""

from __future__ import annotations

import re
import sys

import pytest
from slicer_helpers import ENTRY, ROOT, add_head

pytest_plugins = ["slicer_fixtures"]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("page", ["README.md", "docs/slicer.md"])
def test_python_of_the_pages_runs_as_printed(scene, pair, small_model, monkeypatch, page):
    monkeypatch.setitem(sys.modules, "CSRDDenoise", ENTRY.python)
    pieces = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    volumes = {"petVolume": pair[0], "mrVolume": pair[1], "fullVolume": add_head("Full", seed=5), "segmentation": None}
    console: dict = {**volumes, "model": small_model}
    for piece in (piece for piece in pieces if "Volume" in piece or "logic" in piece):
        # a model that answers at once
        exec(re.sub(r"(mrVolume,)(\s)", r"\1 model=model,\2", piece), console)
    assert console["result"].denoisedVolume.GetName() == "PET low dose denoised"
    if "job" in console:
        assert len(console["found"]["scores"]) == 2 and console["job"].state in ("running", "cancelled")
        console["logic"].close()
