"""The documentation site: complete, nothing broken, nothing fetched from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support.link_check import faults

import geocorrect
from geocorrect.cli.app import app
from geocorrect.config import Settings
from geocorrect.errors import ExitCode, Reason

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, with its one tag for Python as nothing."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
SETTINGS = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)


def pages_in(nav: object) -> Iterator[str]:
    for part in nav if isinstance(nav, list) else [nav]:
        if isinstance(part, dict):
            for value in part.values():
                yield from pages_in(value)
        else:
            yield str(part)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "site" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_once() -> None:
    """`make docs` refuses a page that is missing, too; this says so in a second."""
    written = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    listed = list(pages_in(SETTINGS["nav"]))
    assert sorted(set(written) - set(listed)) == [], "add these pages to `nav` in mkdocs.yml"
    assert len(listed) == len(set(listed))


def test_every_public_name_has_a_page(reference: ModuleType) -> None:
    pages = reference.reference_pages()
    for name in geocorrect.__all__:
        (line,) = [line for line in pages[f"reference/python/{name}.md"].splitlines() if line.startswith("::: ")]
        module, _, attribute = line[4:].rpartition(".")
        assert getattr(sys.modules[module], attribute) is getattr(geocorrect, name)
        assert f"[`{name}`]({name}.md) | " in pages["reference/python/index.md"]
        assert getattr(geocorrect, name).__doc__


def test_the_reference_is_what_the_program_has(reference: ModuleType) -> None:
    pages = reference.reference_pages()
    commands = [command.callback.__name__ for command in app.registered_commands if command.callback]
    groups = [group.name for group in app.registered_groups]
    for name in [*commands, *groups]:
        assert (
            f"\n## geocorrect {str(name).replace('import_photos', 'import').replace('_', '-')} "
            in pages["reference/cli.md"]
        )
    configuration = pages["reference/configuration.md"]
    assert all(f"## [{name}] " in configuration for name in Settings.model_fields)
    assert (
        "| `image_time_limit_s` | `float` | `900.0` | An image that takes longer is rejected (inf: none). |"
        in configuration
    )
    assert '| `engine` | `"local" \\| "in-process" \\| "ray"` | `"local"` | local: worker' in configuration
    assert all(f"| `{reason}` | {reason.text} |" in pages["reference/reasons.md"] for reason in Reason)
    assert all(f"| {int(code)} | {code.text} |" in pages["reference/reasons.md"] for code in ExitCode)
    assert "### current_correction\n\nCorrected photos (active results that are accepted)" in pages["reference/sql.md"]
    assert "| `heading_deg` | " in pages["reference/sql.md"].split("### current_correction")[1].split("###")[0]


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a id="here" href="#here"></a><a href="#there"></a><a href="b.html#x"></a><a href="https://example.org"></a>'
        '<img src="none.png"><script src="https://cdn.example.org/x.js"></script>'
    )
    assert faults(tmp_path) == [
        "a.html: #there has no such anchor",
        "a.html: b.html#x is not there",
        "a.html: none.png is not there",
        "a.html: loads https://cdn.example.org/x.js",
    ]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_nothing_in_it_is_broken(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"], cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    assert faults(tmp_path / "site") == []
    for name in geocorrect.__all__:
        page = (tmp_path / "site" / "reference" / "python" / f"{name}.html").read_text(encoding="utf-8")
        assert re.search(rf'<h1 id="[\w.]+\.{name}"', page), name
    styles = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css"))
    assert not re.search(r"url\(['\"]?https?:", styles)
