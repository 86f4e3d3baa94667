"""The notebooks run from the first cell to the last and find what the catalog holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, cast

import pytest
from support.run_notebook import values_of

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RUNNER = Path(__file__).parents[1] / "support" / "run_notebook.py"


def run(name: str, demo: Path, *wanted: str) -> dict[str, Any]:
    """Values of the named variables after a run in this process with warnings as errors."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setenv("GEOCORRECT_DEMO", str(demo))
        patch.chdir(ROOT / "notebooks")
        return cast("dict[str, Any]", json.loads(values_of(ROOT / "notebooks" / f"{name}.ipynb", wanted)))


WANTED = {
    "first_look": "counts,reasons,n_shown",
    "analysing_a_catalog": "devices,worst,rejections,idle,covered_m2",
    "how_much_to_trust": "rows",
}


@pytest.fixture(scope="module")
def found_in_a_process(demo_folder: Path) -> dict[str, Any]:
    """Values of each notebook, run where nothing is imported yet: what the imports warn of is an error, too."""
    notebooks = [f"{ROOT / 'notebooks' / name}.ipynb:{wanted}" for name, wanted in WANTED.items()]
    command = [sys.executable, "-W", "error", str(RUNNER), *notebooks]
    environment = os.environ | {"GEOCORRECT_DEMO": str(demo_folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT / "notebooks", check=False)
    assert done.returncode == 0, done.stderr
    # Cells print what they like; the values are the last line of each notebook, and begin with a brace.
    values = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
    return dict(zip(WANTED, values, strict=True))


def test_first_look(demo_folder: Path, found_in_a_process: dict[str, Any]) -> None:
    found = found_in_a_process["first_look"]
    assert found["counts"] == {"accepted": 26, "rejected": 3, "review": 1}
    assert found["reasons"] == {"too_few_inliers": 3}
    assert found["n_shown"] == 30
    assert (demo_folder / "report.html").stat().st_size > 150_000


def test_analysing_a_catalog(found_in_a_process: dict[str, Any]) -> None:
    found = found_in_a_process["analysing_a_catalog"]
    by_device = {row["device_model"]: row for row in found["devices"]}
    for number, (east_m, north_m) in enumerate([(4.0, 3.0), (-6.0, 2.0), (1.0, -7.0)]):
        row = by_device[f"Cam {number}"]
        assert row["east_m"] == pytest.approx(east_m, abs=0.4)
        assert row["north_m"] == pytest.approx(north_m, abs=0.4)
        assert row["heading_deg"] == pytest.approx(8.0, abs=3.0)
    assert found["worst"][0]["sequence_id"] == "seq-2"
    assert {(row["reason"], row["n"]) for row in found["rejections"]} == {("too_few_inliers", 1)}
    assert found["idle"] == 0
    assert 1000 < found["covered_m2"] < 20_000


def test_how_much_to_trust(found_in_a_process: dict[str, Any]) -> None:
    found = found_in_a_process["how_much_to_trust"]
    kept = [row[1] for row in found["rows"]]
    assert kept == sorted(kept)
    assert kept[-1] == 26
    assert all(0.01 < row[2] < 0.5 for row in found["rows"])


def test_all_three_on_what_the_demo_leaves(real_demo: Path) -> None:
    summary = json.loads((real_demo / "summary.json").read_text())
    reasons = summary["reasons"]
    review = reasons.pop("review", 0)  # not accepted, and not rejected either
    found = run("first_look", real_demo, "counts", "reasons", "n_shown")
    assert found["counts"]["accepted"] == summary["n_accepted"]
    assert found["counts"].get("review", 0) == review
    assert found["counts"].get("rejected", 0) == sum(reasons.values())
    assert found["reasons"] == reasons
    assert found["n_shown"] == summary["n_images"]
    assert "</html>" in (real_demo / "report.html").read_text(encoding="utf-8")
    found = run("analysing_a_catalog", real_demo, "devices", "rejections", "covered_m2")
    assert sum(row["n_photos"] for row in found["devices"]) > 0
    assert sum(row["n"] for row in found["rejections"]) == sum(reasons.values())
    assert found["covered_m2"] > 100
    found = run("how_much_to_trust", real_demo, "rows")
    limit, kept, median_m, largest_m = found["rows"][-1]
    assert kept == summary["n_accepted"]
    assert median_m == pytest.approx(summary["corrected_median_m"], abs=0.02)
    assert median_m <= largest_m < 1.0
    assert limit < 1.0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_small_and_stripped(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            assert not any(line.startswith(("%", "!")) for line in cell["source"])
    assert path.stat().st_size < 20_000


def test_every_notebook_is_run_and_listed() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(WANTED)
    listed = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert all(path.name in listed for path in NOTEBOOKS)
