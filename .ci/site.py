"""A hook of mkdocs: shows pages of the root on the site; links to what is not there lead to the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CSRDDenoise/Resources/Models/brain/MODEL_CARD.md": "MODEL_CARD.md",
}
LINK = re.compile(r"(\]\(|<img src=\")([^)#\"\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live outside of ``docs``."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the relative links of a page, which are those of the repository, to those of the site."""
    sources = {page: source for source, page in PAGES.items()}
    name = page.file.src_uri
    here = PurePosixPath(sources.get(name, f"docs/{name}")).parent

    def rewritten(match: re.Match[str]) -> str:
        start, link = match.groups()
        if "://" in link:
            return match.group()
        target = posixpath.normpath((here / link).as_posix())
        on_site = PAGES.get(target) or (target[len("docs/") :] if target.startswith("docs/") else "")
        if on_site and files.get_file_from_path(on_site):
            return start + on_site
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"{start}{config.repo_url}/{kind}/main/{target}"

    return LINK.sub(rewritten, markdown)
