"""Formats of PET scanners that are not read, under suffixes that stand for others or for none."""

from __future__ import annotations

import pytest

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.study import open_study

INTERFILE = b"!INTERFILE :=\n!imaging modality := PT\nname of data file := pet.img\n!END OF INTERFILE :=\n"


@pytest.mark.parametrize("look", [lambda path: read(path, "PET"), open_study])
@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("pet.hdr", INTERFILE, "Interfile"),
        ("pet.v.hdr", b"  " + INTERFILE.lower(), "Interfile"),
        ("pet.hv", INTERFILE, "Interfile"),
        ("pet.v", b"MATRIX72v\0" + bytes(600), "ECAT 7"),
    ],
)
def test_the_format_is_named(tmp_path, name, content, form, look):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "pet.img").write_bytes(bytes(400))
    with pytest.raises(InputError, match=f"{form}.*NIfTI"):
        look(tmp_path / name)
