"""The page for readers without Slicer: one HTML file that works offline, with NiiVue as its viewer.

NiiVue is not kept in this repository. ``make reader-page`` (or ``npm pack``) fetches the one version known here; its
checksum is compared before a line of it is used.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Optional

from ...atomic import complete_file
from ...errors import InputError
from ..study import IMAGES, PAGE_FILE, Study, check_files, read_study

VIEWER_VERSION = "0.69.0"
VIEWER_FILE = f"niivue-niivue-{VIEWER_VERSION}.tgz"
VIEWER_SHA512 = "YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
"""What npm's registry calls the integrity of @niivue/niivue 0.69.0: SHA-512, base64."""

_HERE = Path(__file__).parent
_BUNDLE = "package/dist/niivue.umd.js"
LARGEST_EMBEDDED = 150 * 1024**2


def write_page(folder: Path, viewer: Optional[Path] = None, embed: Optional[bool] = None) -> bool:
    """Write the page of a study into its folder and return whether it holds the images.

    Args:
        folder: of the study.
        viewer: NiiVue as ``npm pack`` writes it; None: where ``make reader-page`` puts it.
        embed: whether the page is to hold the images; None: if they take at most 150 MiB. Without them readers choose
            the study folder at the start.

    Raises:
        InputError: the study is damaged or changed, the viewer is missing or another, or the page cannot be written.
    """
    import jinja2

    study = read_study(folder)
    script = viewer_script(viewer)
    names = image_names(study)
    check_files(folder, [f"{IMAGES}/{name}" for name in names])
    images = _encoded(folder, names, embed)
    loader = jinja2.FileSystemLoader(_HERE)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("reader.html.j2")
    page = template.render(
        title=study.title,
        version=VIEWER_VERSION,
        licence=(_HERE / "NIIVUE-LICENSE.txt").read_text(encoding="utf-8"),
        study=json.dumps(study.as_dict()).replace("<", "\\u003c"),
        images=images,
        viewer=script,
        script=(_HERE / "reader.js").read_text(encoding="utf-8"),
    )
    try:
        with complete_file(folder / PAGE_FILE) as partial:
            partial.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"The page cannot be written to '{folder}': {error.strerror}.") from error
    return bool(images)


def viewer_script(path: Optional[Path] = None) -> str:
    """Return NiiVue as one script.

    Raises:
        InputError: it is missing, or is not the version known here.
    """
    path = path or _HERE / VIEWER_FILE
    how = f"Run 'make reader-page', or 'npm pack @niivue/niivue@{VIEWER_VERSION}' and name the file with --viewer."
    if not path.is_file():
        raise InputError(f"The viewer '{path}' is missing. {how}")
    content = path.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != VIEWER_SHA512:
        raise InputError(f"'{path}' is not NiiVue {VIEWER_VERSION} as published: its SHA-512 differs. {how}")
    with tarfile.open(fileobj=BytesIO(content)) as archive:
        bundle = archive.extractfile(_BUNDLE)
        if bundle is None:
            raise InputError(f"'{path}' holds no {_BUNDLE}. {how}")
        return bundle.read().decode().replace("</script", "<\\/script")


def image_names(study: Study) -> list[str]:
    """Return the names of all images of a study, sorted."""
    trials = [trial for reading in study.readings for trial in reading.trials]
    return sorted({name for trial in trials for name in (*trial.images, trial.mr) if name})


def _encoded(folder: Path, names: list[str], embed: Optional[bool]) -> list[tuple[str, str]]:
    """Return name and base64 of each image, compressed; empty if the page is not to hold them."""
    if embed is False:
        return []
    found, total = [], 0
    for name in names:
        text = base64.b64encode(gzip.compress((folder / IMAGES / name).read_bytes(), 6, mtime=0)).decode()
        total += len(text)
        if embed is None and total > LARGEST_EMBEDDED:
            return []
        found.append((name, text))
    return found
