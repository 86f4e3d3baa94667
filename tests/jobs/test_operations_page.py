"""docs/operations.md: its commands run as they stand, its table is that of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.chaos import make_scene, serving
from support.small_city import build_city

from geocorrect.jobs.metrics import HELP

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_table_of_metrics_is_fresh() -> None:
    rows = "\n".join(f"| `geocorrect_{name}` | {meaning} |" for name, meaning in HELP.items())
    assert PAGE.split("<!-- test: metrics -->\n", 1)[1].startswith(f"| metric | meaning |\n|---|---|\n{rows}\n\n")


def test_metrics_in_alerts_exist() -> None:
    named = set(re.findall(r"geocorrect_((?:run|harvest)_[a-z_]+)", PAGE))
    assert named == set(HELP)


def test_links_lead_somewhere() -> None:
    for name in ("operations.md", "scheduling.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            assert (ROOT / "docs" / target).exists(), f"{name}: {target}"


def test_commands_run_as_they_stand(tmp_path: Path) -> None:
    blocks = re.findall(r"<!-- test: commands -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    city = build_city(tmp_path / "city", 2)
    with serving(city) as service:
        scene = make_scene(tmp_path / "scene", city, service, "corrections.gpkg", workers=1)
        bare = {key: value for key, value in os.environ.items() if not key.startswith("GEOCORRECT")}
        environment = {
            **bare,
            **scene.environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GEOCORRECT__MODELS__CACHE_FOLDER": "cache",
        }
        done = subprocess.run(
            ["bash", "-c", "set -eu\n" + "".join(blocks)], cwd=scene.folder, env=environment, capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("FAIL") == 0
    assert "takes the token" in done.stderr
