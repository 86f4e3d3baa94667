"""The picture of the anchor check: corrections as they are, enlarged as it says, and whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver, QuiverKey
from support import catalog_world
from typer.testing import CliRunner

from geocorrect.anchors.check import AnchorCheck
from geocorrect.anchors.neighbour_view import NeighbourView
from geocorrect.catalog.store import Catalog
from geocorrect.cli.app import app
from geocorrect.errors import UsageError
from geocorrect.records import AnchorIndex
from geocorrect.report.pictures import anchor_check_picture as picture

IDS = ("a", "b", "c", "d")
INDEX = AnchorIndex(IDS, np.array([[0.0, 0, 2], [5, 0, 2], [10, 1, 2], [15, 0, 2]]), np.zeros(4), ("k",) * 4, ("",) * 4)


def seen(east_m: float, north_m: float, turn_deg: float) -> NeighbourView:
    shift = np.array([east_m, north_m, 0.0, 0.0, 0.0, np.radians(turn_deg)])
    return NeighbourView(shift, 1e-6 * np.eye(6), np.full(6, 1e-3))


VIEWS = {"a": seen(0.01, 0.0, 0.01), "b": seen(0.0, -0.004, 0.0), "c": seen(-0.1, 0.3, 0.5)}
CHECK = AnchorCheck(VIEWS, {"c": 30.0}, {"a": 1.0, "b": 0.4, "c": 30.0}, (1.0, 1.0), {})


def test_arrows_lead_from_the_records_to_the_neighbours_view(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **how: figures.append(figure))
    picture.draw_anchor_check(CHECK, INDEX, catalog_world.ROME, tmp_path / "check.png")
    axes: Any = figures[0].axes
    plan, heading = axes
    consistent: Any
    aside: Any
    consistent, aside = (part for part in plan.get_children() if isinstance(part, Quiver))
    np.testing.assert_allclose(consistent.get_offsets(), [[0, 0], [5, 0]])
    # A tenth of 15 m by 1 cm is 150, by 31.6 cm 4.7: the round number below.
    np.testing.assert_allclose(np.stack([consistent.U, consistent.V], 1), [[-1.0, 0.0], [0.0, 0.4]], atol=1e-12)
    np.testing.assert_allclose(np.array([aside.U[0], aside.V[0]]), [2 * 0.1, -2 * 0.3])
    texts = {text.get_text() for text in [*plan.texts, *plan.get_legend().get_texts()]}
    assert {"c", "not judged (1)"} <= texts
    assert not texts & {"a", "b", "d"}
    scales = [part.text.get_text() for part in plan.get_children() if isinstance(part, QuiverKey)]
    assert scales == ["correction ×100: 1 cm", "correction ×2: 20 cm"]
    turned: Any = heading.containers[1].lines[0].get_xydata()
    np.testing.assert_allclose(turned, [[3, 0.5]])


def test_the_picture_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "check.png"
    picture.draw_anchor_check(CHECK, INDEX, catalog_world.ROME, path)
    written = cv2.imread(str(path))
    assert written is not None
    assert written.shape == (1125, 1800, 3)
    before, save = path.read_bytes(), Figure.savefig

    def breaks(figure: Figure, file: Path, **how: Any) -> None:
        save(figure, file, **how)
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", breaks)
    with pytest.raises(Exception, match="no space left"):
        picture.draw_anchor_check(replace(CHECK, named={}), INDEX, catalog_world.ROME, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_draws_also_where_nothing_could_be_judged(empty_geopackage: Path, tmp_path: Path) -> None:
    """Pictures of which none can be read: exit code 3, every anchor an empty circle; another ending is refused."""
    catalog = tmp_path / "catalog.gpkg"
    catalog.write_bytes(Path(empty_geopackage).read_bytes())
    with Catalog.open(str(catalog)) as store:
        catalog_world.fill(store, 3)
    command = ["anchors", "check", "--dry-run", "--catalog", str(catalog), "--picture"]
    with pytest.raises(UsageError, match=r"check\.txt: name a \.png file"):
        CliRunner().invoke(app, [*command, str(tmp_path / "check.txt")], catch_exceptions=False)
    run = CliRunner().invoke(app, [*command, str(tmp_path / "check.png")], catch_exceptions=False)
    assert run.exit_code == 3
    assert "0 of 4 anchors judged" in run.stderr
    assert cv2.imread(str(tmp_path / "check.png")) is not None
