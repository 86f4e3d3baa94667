"""The main job without scanner and without network: depth from the anchors' neighbours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.docs_page import block, commands

from geocorrect.__main__ import run
from geocorrect.catalog.store import Catalog
from geocorrect.demo.world.build import DemoWorld
from geocorrect.errors import ExitCode

pytestmark = pytest.mark.long

PAGE = Path(__file__).resolve().parents[2] / "docs" / "depth.md"


def demo(out: Path, *more: str) -> int:
    return run(["demo", "--out", str(out), "--size", "small", "--workers", "1", *more])


@pytest.fixture(scope="module")
def finished(small_world: DemoWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the command of docs/depth.md has run, on the small street."""
    folder = tmp_path_factory.mktemp("triangulated")
    out = folder / "out" / "demo-triangulated"
    shutil.copytree(small_world.folder, out / "world")
    command = commands(block(PAGE.read_text(encoding="utf-8"), "triangulated"), folder)[-1]
    assert command == ["demo", "--depth", "triangulated"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run([*command, "--size", "small", "--workers", "1"]) == 0
    return out


def test_photos_are_put_back_without_scanner_and_network(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["false_accepts"] == 0
    assert summary["n_accepted"] >= 2
    assert summary["corrected_median_m"] <= 0.3
    assert summary["heading_median_deg"] <= 0.5
    with Catalog.open(str(finished / "corrections.gpkg")) as catalog:
        evidence = [stored.result.evidence for stored in catalog.current()]
        (manifest,) = catalog.runs()
    assert {e.depth for e in evidence if e.depth} == {"triangulated"}
    assert not any(e.depth_is_oracle for e in evidence)
    assert sum(a.n_points for e in evidence for a in e.anchors) > 100, "the neighbours gave depth"
    assert manifest.depth.startswith("triangulated/")
    assert manifest.config["depth"]["source"] == "triangulated"
    assert (finished / "report.html").is_file()


def test_a_second_run_computes_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = sorted((finished / "calibrations").iterdir())
    assert len(kept) >= 3
    assert demo(finished, "--depth", "triangulated") == 0
    assert "nothing was due" in capsys.readouterr().err
    assert sorted((finished / "calibrations").iterdir()) == kept


def test_two_depth_sources_do_not_share_a_folder(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(finished) == ExitCode.USAGE
    assert "triangulated depth; give another folder" in " ".join(capsys.readouterr().err.split())
    assert demo(finished, "--depth", "sonar") == ExitCode.USAGE
