"""Hooks of `mkdocs build`: pages that are made from the program, and pages whose text stands outside docs/.

A link of a page may lead to any file of the repository, as on a code host. Where that file is no page of the site, a
copy of it goes along, under `repository/`.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from reference import reference_pages

ROOT = Path(__file__).resolve().parents[2]
ADOPTED = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": ".github/SECURITY.md",
    "data.md": "data/README.md",
    "notebooks.md": "notebooks/README.md",
}
"""Pages of the site whose text stands elsewhere in the repository."""
PAGES = {source: page for page, source in ADOPTED.items()}


def on_config(config: Any) -> Any:
    """The navigation's list of Python names."""
    (names,) = (item for part in config.nav for item in part.get("Reference", []) if "Python" in item)
    names["Python"] = [page for page in reference_pages() if page.startswith("reference/python/")]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Pages that nobody wrote into docs/."""
    for page, source in ADOPTED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for page, text in reference_pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that work in the repository work on the site; the tests' marks are not shown."""
    uri = page.file.src_uri
    folder = posixpath.dirname(ADOPTED.get(uri, f"docs/{uri}"))

    def link(found: re.Match[str]) -> str:
        target, _, anchor = found[1].partition("#")
        source = posixpath.normpath(posixpath.join(folder, target))
        if not target or "://" in target or not (ROOT / source).is_file():
            return found[0]  # what leads nowhere is mkdocs' to complain about
        there = PAGES.get(source) or (source[5:] if source.startswith("docs/") else f"repository/{source}")
        if there.startswith("repository/") and files.get_file_from_path(there) is None:
            files.append(File.generated(config, there, content=(ROOT / source).read_bytes()))
        there = posixpath.relpath(there, posixpath.dirname(uri) or ".")
        return f"]({there}#{anchor})" if anchor else f"]({there})"

    return re.sub(r"\]\(([^)\s]+)\)", link, re.sub(r"^<!-- test: .* -->\n", "", markdown, flags=re.MULTILINE))


def on_page_content(html: str, **_: Any) -> str:
    """A bar in a table's code is written with a backslash, which code hosts take away and Python-Markdown shows."""
    return re.sub(r"<td>.*?</td>", lambda cell: cell[0].replace("\\|", "|"), html, flags=re.DOTALL)
