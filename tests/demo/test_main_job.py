"""The main job end to end on the small street: anchors and HTTP in, scored corrections out, on both back-ends."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.world_cache import cached_demo, forget_demo

from geocorrect.__main__ import run
from geocorrect.catalog.store import Catalog
from geocorrect.config import load_settings
from geocorrect.jobs.plan import plan_run
from geocorrect.records import Correction

pytestmark = pytest.mark.long

SUMMARY_KEYS = [
    "n_images", "n_localisable", "n_accepted", "n_review", "n_rejected", "reasons",
    "reported_median_m", "computed_median_m",
    "corrected_median_m", "corrected_median_low_m", "corrected_median_high_m", "corrected_p90_m", "corrected_max_m",
        "heading_median_deg", "false_accepts", "wall_s",
]  # fmt: skip


SMALL = ["demo", "--size", "small", "--workers", "1"]


@pytest.fixture(scope="module")
def finished() -> Path:
    """A folder in which the demo of this very code has run once, in this process or in an earlier one."""
    return cached_demo()


def rows(url: str) -> list[dict[str, Any]]:
    """Results as plain values, without the time of writing."""
    with Catalog.open(url) as catalog:
        return [_plain(stored) for stored in catalog.current()]


def _plain(stored: Any) -> dict[str, Any]:
    result = stored.result
    facts: dict[str, Any] = {
        "image_id": result.image_id,
        "run_key": stored.run_key,
        "place": [stored.lon_deg, stored.lat_deg, stored.height_m, stored.heading_deg, stored.displacement_m],
        # PostgreSQL keeps the keys of a JSON object in an order of its own.
        "evidence": repr(dataclasses.replace(result.evidence, gate=dict(sorted(result.evidence.gate.items())))),
    }
    if isinstance(result, Correction):
        facts["pose"] = [result.world_from_cam.matrix.tolist(), result.world_from_cam.covariance.tolist()]  # type: ignore[union-attr]
        return facts | {"status": result.status.value, "expected_error_m": result.expected_error_m}
    return facts | {"reason": result.reason.value, "detail": result.detail}


def test_the_bar(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert list(summary) == SUMMARY_KEYS
    assert summary["n_images"] == 4
    assert summary["n_accepted"] >= 0.9 * summary["n_localisable"] > 0
    assert summary["n_accepted"] + summary["n_review"] + summary["n_rejected"] == summary["n_images"]
    assert sum(summary["reasons"].values()) == summary["n_rejected"]
    assert summary["corrected_median_m"] <= 0.15
    assert summary["corrected_p90_m"] <= 0.5
    assert summary["heading_median_deg"] <= 0.3
    assert summary["false_accepts"] == 0
    assert summary["reported_median_m"] > 2.0


def test_the_exports_hold_every_photo(finished: Path) -> None:
    collection = json.loads((finished / "corrections.geojson").read_text())
    truth = json.loads((finished / "world" / "truth.json").read_text())["photos"]
    assert {feature["id"] for feature in collection["features"]} == set(truth) - {"2483688768743474"}, (
        "what is published"
    )
    for feature in collection["features"]:
        if feature["properties"]["status"] == "accepted":
            lon, lat = feature["geometry"]["coordinates"][:2]
            assert lon == pytest.approx(truth[feature["id"]]["lon_deg"], abs=1e-5)
            assert lat == pytest.approx(truth[feature["id"]]["lat_deg"], abs=1e-5)
    assert (finished / "before_after.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_second_run_computes_and_changes_nothing(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprints() -> dict[str, str]:
        names = [p for p in finished.rglob("*") if p.is_file() and "corrections.gpkg" not in p.name]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in names if ".harvest" not in p.parts}

    before, rows_before = fingerprints(), rows(str(finished / "corrections.gpkg"))
    monkeypatch.chdir(finished.parents[1])
    try:
        assert run(SMALL) == 0
        said = capsys.readouterr().err
        assert "nothing was due" in said
        offered = [line.split(": ")[0].strip() for line in said.splitlines() if line.startswith("  out/demo/")]
        assert len(offered) == 3
        assert all(Path(file).is_file() for file in offered)
        assert fingerprints() == before
        assert repr(rows(str(finished / "corrections.gpkg"))) == repr(rows_before)
    except BaseException:
        forget_demo()  # no test is to take what this run has left for the work of the first
        raise


def test_oracle_depth_is_labelled(finished: Path) -> None:
    with Catalog.open(str(finished / "corrections.gpkg")) as catalog:
        evidence = [stored.result.evidence for stored in catalog.current()]
    assert all(e.depth_is_oracle for e in evidence if e.depth)
    assert any(e.depth_is_oracle for e in evidence)


def test_the_token_is_nowhere(finished: Path) -> None:
    from geocorrect.demo.mapillary_server.server import FAKE_TOKEN

    secret = FAKE_TOKEN.rsplit("|", 1)[1].encode()
    for path in finished.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path


def test_a_changed_photo_is_due_again_and_only_it(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    with sqlite3.connect(out / "corrections.gpkg") as connection:
        assert connection.execute("select count(*) from correction").fetchone() == (4,)
    connection.close()
    settings = load_settings(out / "geocorrect.toml").settings
    with Catalog.open(str(out / "corrections.gpkg")) as catalog:
        image = catalog.images()[min(catalog.images())]
        assert len(plan_run(settings, catalog).due) == 0
        catalog.upsert_images([dataclasses.replace(image, sha256="0" * 64)])
        due = plan_run(settings, catalog).due.fid.tolist()
        assert [found.image.id for found in catalog.stored_images(due).values()] == [image.id]


@pytest.mark.postgis
def test_postgis_and_a_worker_process_give_the_same_rows(
    finished: Path, tmp_path: Path, postgis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "server"
    shutil.copytree(finished / "world", out / "world")
    # The same files under the same path, so that only the back-end and who computes differ.
    (out / "images").symlink_to(finished / "images")
    monkeypatch.setenv("GEOCORRECT__BATCH__ENGINE", "local")
    assert run([*SMALL, "--out", str(out), "--catalog", postgis_url]) == 0
    on_file, on_server = rows(str(finished / "corrections.gpkg")), rows(postgis_url)
    assert repr(on_server) == repr(on_file)
    assert len(on_server) == 4
