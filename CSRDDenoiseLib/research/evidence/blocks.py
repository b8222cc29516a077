"""A page in parts: each command writes its own, between two comments, and leaves the others as they are."""

from __future__ import annotations

from pathlib import Path

from ...atomic import complete_file


def replace_block(page: Path, name: str, text: str) -> None:
    """Put a text between the comments ``begin: NAME`` and ``end: NAME`` of a page; without them it goes to the end.

    Args:
        page: Markdown file, made where it is missing.
        name: of the part.
        text: Markdown.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    block = f"{begin}\n\n{text.strip()}\n\n{end}"
    if begin in before and end in before:
        head, _, rest = before.partition(begin)
        after = head + block + rest.partition(end)[2]
    else:
        after = f"{before.rstrip()}\n\n{block}\n".lstrip()
    with complete_file(page) as partial:
        partial.write_text(after, encoding="utf-8")
