"""Files that are complete or as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from CSRDDenoiseLib.atomic import complete_file, write_json


def test_a_file_is_complete_or_as_it_was(tmp_path: Path):
    path = tmp_path / "new" / "values.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(KeyboardInterrupt), complete_file(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"a": 1} and list(path.parent.iterdir()) == [path]
