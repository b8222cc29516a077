"""The texts of the Slicer module for translators: ``python Testing/translations.py`` writes the .ts file anew.

Contexts are those that Slicer looks a text up with (``slicer.i18n.getContext``): for a Python file its name, with that
of its package before it, ``CSRDDenoiseModule.panel``; for a .ui file its class. ``translate`` names its own.
"""

from __future__ import annotations

import ast
from pathlib import Path
from xml.etree import ElementTree

from CSRDDenoiseLib.sentences import SLICER, templates

CATALOGUE = "CSRDDenoiseLib.sentences"
MODULE = Path(__file__).resolve().parent.parent / "CSRDDenoise"
FILE = MODULE / "Resources" / "Translations" / "CSRDDenoise_en-US.ts"
Texts = dict[str, dict[str, str]]


def context_of(path: Path) -> str:
    """Return the context of the texts of a Python file."""
    return f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").is_file() else path.stem


def texts_of_python(path: Path) -> Texts:
    """Return context -> text -> where it stands, of what is called ``_`` and ``translate``."""
    found: Texts = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "translate")):
            continue
        if not all(isinstance(each, ast.Constant) for each in node.args):
            continue  # a text of the catalogue
        *named, text = [ast.literal_eval(each) for each in node.args]
        found.setdefault(named[0] if named else context_of(path), {}).setdefault(text, path.name)
    return found


def texts_of_ui(path: Path) -> Texts:
    """Return the same of a .ui file."""
    root = ElementTree.parse(path).getroot()
    texts = [
        each.text
        for parent in root.iter("property")
        for each in parent.findall("string")
        if each.text and each.get("notr") != "true"
    ]
    return {root.findtext("class") or "": dict.fromkeys(texts, path.name)}


def all_texts() -> Texts:
    """Return context -> text -> where it stands, of the whole module, and of the sentences about findings."""
    found: Texts = {}
    files = [*sorted(MODULE.rglob("*.py")), *sorted(MODULE.rglob("*.ui"))]
    for path in files:
        for context, texts in (texts_of_ui if path.suffix == ".ui" else texts_of_python)(path).items():
            found.setdefault(context, {}).update(texts)
    return {**found, CATALOGUE: dict.fromkeys(templates(SLICER), "sentences.py")}


def texts_in(path: Path) -> dict[str, set[str]]:
    """Return context -> texts of a .ts file."""
    root = ElementTree.parse(path).getroot()
    return {
        each.findtext("name") or "": {str(one.findtext("source")) for one in each.findall("message")}
        for each in root.findall("context")
    }


def document(texts: Texts) -> str:
    """Return a .ts file (Qt Linguist, version 2.1) with everything still to be translated."""
    root = ElementTree.Element("TS", version="2.1", language="en_US", sourcelanguage="en_US")
    for context in sorted(texts):
        parent = ElementTree.SubElement(root, "context")
        ElementTree.SubElement(parent, "name").text = context
        for text in sorted(texts[context]):
            message = ElementTree.SubElement(parent, "message")
            ElementTree.SubElement(message, "location", filename=texts[context][text])
            ElementTree.SubElement(message, "source").text = text
            ElementTree.SubElement(message, "translation", type="unfinished")
    ElementTree.indent(root, " ")
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n{body}\n'


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(document(all_texts()), encoding="utf-8")
