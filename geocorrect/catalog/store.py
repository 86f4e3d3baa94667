"""Catalog: the reads and writes that the pipeline needs, on PostGIS or GeoPackage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, Engine, func, insert, select, table, text, update

from geocorrect.catalog import image_positions as positions
from geocorrect.catalog import migrate, results, schema
from geocorrect.catalog.connect import (
    connected,
    describe,
    engine_for,
    translated_errors,
    with_retries,
    write_with_retries,
)
from geocorrect.catalog.image_positions import DueHistory, ImagePositions, StoredImage
from geocorrect.catalog.lock import Holder, holder_of
from geocorrect.catalog.rows import references
from geocorrect.catalog.rows.codec import checked_texts
from geocorrect.catalog.rows.result_table import ResultTable, read_tables
from geocorrect.catalog.rows.write_results import ResultInputs, write_results
from geocorrect.catalog.run import Box, ResultFilter, RunManifest, StoredResult, StoredRun
from geocorrect.catalog.views.views import views_of
from geocorrect.errors import DatabaseError
from geocorrect.geometry.frame import Frame
from geocorrect.records import AlignmentRecord, Anchor, AnchorIndex, AnchorNoise, Image, Pair, Result

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

T = TypeVar("T")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Catalog:
    """One scene: a frame, its anchors, the photos, the runs and their results.

    Every method is one transaction. Reads see only complete writes; a repeated write changes nothing, so when a server
    restarts the transaction is repeated. Errors of the database are DatabaseError and name the catalog without its
    password.
    """

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = _utc_now) -> None:
        self._engine, self._clock = engine, clock

    @classmethod
    def open(cls, url: str, *, create: bool = False, clock: Callable[[], datetime] = _utc_now) -> Self:
        """Open a catalog.

        Args:
            url: "postgresql://user@host/database", "gpkg:///abs/path.gpkg", or a path that ends in .gpkg.
            create: make tables and views where missing, and bring an older schema up to date; one that is up to date
                is only read.
            clock: the present time, timezone-aware.

        Raises:
            DatabaseError: with the remedy; without `create` also for a catalog that is missing, older or newer.
        """
        engine = engine_for(url, create=create)
        try:
            if create:
                migrate.upgrade(engine)
            migrate.require_current(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, clock)

    @property
    def address(self) -> str:
        """Where the catalog is, without password."""
        return describe(self._engine)

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, for exports and checks inside this room and `export`."""
        return self._engine

    @property
    def clock(self) -> Callable[[], datetime]:
        """The present time, timezone-aware."""
        return self._clock

    def holder(self) -> Holder | None:
        """Who has locked this scene (`lock_scene`), None when nobody has."""
        return holder_of(self._engine)

    def close(self) -> None:
        """Release all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frame(self) -> Frame | None:
        """The scene's local ENU frame, None before it is set."""
        return self._read(references.read_frame)

    def set_frame(self, frame: Frame) -> None:
        """Set the scene's frame; DatabaseError when there are anchors in another one."""
        self._write(lambda c: references.write_frame(c, frame))

    def add_alignment(self, alignment: AlignmentRecord) -> str:
        """Store a version of a georeference; the same id again changes nothing. Returns the id."""
        return self._write(lambda c: references.write_alignment(c, alignment))

    def alignments(self) -> list[AlignmentRecord]:
        """All versions, oldest first."""
        return self._read(references.read_alignments)

    def upsert_anchors(self, anchors: Iterable[Anchor]) -> int:
        """Insert or replace anchors; returns how many are new or different."""
        return self._write(lambda c: references.write_anchors(c, anchors))

    def set_anchor_noise(self, noise: Mapping[str, AnchorNoise]) -> int:
        """Store what was found of anchors, by id, and nothing of all others; returns how many changed."""
        return self._write(lambda c: references.write_anchor_noise(c, noise))

    def anchors(self, ids: Sequence[str] | None = None) -> dict[str, Anchor]:
        """Anchors by id; all when ids is None; unknown ids are left out."""
        return self._read(lambda c: references.read_anchors(c, ids))

    def anchor_index(self) -> AnchorIndex:
        """Positions of all anchors, as arrays."""
        return self._read(references.read_anchor_index)

    def upsert_images(self, images: Iterable[Image]) -> int:
        """Insert or replace images, keeping earlier values of the provider; returns how many are new or different."""
        now = self._clock()
        return self._write(lambda c: references.write_images(c, images, now))

    def images(self, ids: Sequence[str] | None = None) -> dict[str, Image]:
        """Images by id; all when ids is None; unknown ids are left out."""
        return self._read(lambda c: references.read_images(c, ids))

    def sizes(self) -> tuple[int, int]:
        """How many anchors and images there are."""
        anchors, images = (select(func.count()).select_from(table) for table in (schema.anchor, schema.image))
        return self._read(lambda c: (c.execute(anchors).scalar_one(), c.execute(images).scalar_one()))

    def extent(self) -> Box | None:
        """(west, south, east, north) in degrees around all photos and anchors, None when there are none; across the
        antimeridian, east is beyond 180.
        """
        return self._read(references.read_extent)

    def photo_licences(self) -> list[str]:
        """The licences of all photos, sorted; "" where a photo names none."""
        return self._read(lambda c: sorted(c.execute(select(schema.image.c.licence).distinct()).scalars()))

    def begin_run(self, manifest: RunManifest) -> int:
        """Start or continue the run of this key; returns its integer key. DatabaseError when it was rolled back."""
        return self._write(lambda c: begin_run_on(c, manifest))

    def pause_run(self, run_key: str, *, duration_s: float) -> None:
        """Add the seconds that the run took before it was stopped; it stays open to be continued."""
        self._change_run(run_key, duration_s=schema.run.c.duration_s + duration_s)

    def finish_run(self, run_key: str, *, duration_s: float) -> None:
        """Mark the run as complete, adding the seconds it took."""
        self._change_run(run_key, finished_at=self._clock(), duration_s=schema.run.c.duration_s + duration_s)

    def runs(self) -> list[StoredRun]:
        """All runs, oldest first."""
        return self._read(results.read_runs)

    def run_key_of(self, beginning: str) -> str:
        """The full key of the one run whose key begins so; DatabaseError when there is none or more than one."""
        keys = [run.run_key for run in self.runs() if run.run_key.startswith(beginning)]
        if len(keys) == 1 or beginning in keys:
            return beginning if beginning in keys else keys[0]
        found = f"{len(keys)} runs begin so" if keys else "no run begins so"
        raise DatabaseError(f"run {beginning!r}: {found}; `geocorrect db runs` lists them")

    def require_active_run(self, run_key: str) -> None:
        """DatabaseError, with the remedy, when the run or one that it depends on was rolled back."""
        self._read(lambda c: results.require_active_run(c, run_key))

    def newest_run(self, config_key: str) -> tuple[int, StoredRun] | None:
        """The newest generation of a configuration with its integer key, None when it never ran."""
        return self._read(lambda c: results.newest_run(c, config_key))

    def image_positions(self, config_key: str, after_fid: int = 0, count: int = 20_000) -> ImagePositions:
        """The next photos after an integer key, as columns, with the inputs of their newest result under a key."""
        return self._read(lambda c: positions.read_image_positions(c, config_key, after_fid, count))

    def due_history(self, fids: Sequence[int]) -> list[DueHistory]:
        """The newest matched results of photos, in no order."""
        return self._read(lambda c: positions.read_due_history(c, fids))

    def stored_images(self, fids: Sequence[int]) -> dict[int, StoredImage]:
        """Whole photos by integer key; unknown ones are left out."""
        return self._read(lambda c: positions.read_stored_images(c, fids))

    def record(
        self,
        run_key: str,
        found: Sequence[Result],
        pairs: Sequence[Pair] = (),
        input_hashes: Mapping[str, str] | None = None,
    ) -> None:
        """Store results of a begun run in one transaction; a photo that has a result in this run keeps it.

        Args:
            run_key: the run.
            found: the results.
            pairs: what each anchor contributed.
            input_hashes: by image id, of what each result depends on.
        """
        now, inputs = self._clock(), input_hashes or {}
        self._write(lambda c: write_results(c, run_key, found, ResultInputs(pairs, inputs), now))

    def count_since(self, run_key: str, moment: datetime) -> int:
        """Results of the run stored at or after a moment (timezone-aware)."""
        result, run = schema.correction.c, schema.run.c
        query = select(func.count()).join_from(schema.correction, schema.run, run.fid == result.run_id)
        query = query.where(run.run_key == run_key, result.recorded_at >= moment)
        return self._read(lambda c: int(c.execute(query).scalar_one()))

    def results(self, wanted: ResultFilter | None = None) -> Iterator[StoredResult]:
        """Stored results, streamed, sorted by image id."""
        with translated_errors(self._engine), connected(self._engine) as connection:
            yield from results.read_results(connection, wanted or ResultFilter())

    def tables(self, wanted: ResultFilter | None = None) -> Iterator[ResultTable]:
        """The plain values of stored results as columns, chunk by chunk, sorted by image id: for exports."""
        with translated_errors(self._engine), connected(self._engine) as connection:
            yield from read_tables(connection, wanted or ResultFilter())

    def licences(self, wanted: ResultFilter | None = None) -> list[str]:
        """The licences of the photos of stored results, sorted; "" where a photo names none."""
        return self._read(lambda c: results.read_licences(c, wanted or ResultFilter()))

    def sequence_lags(self) -> dict[str, float]:
        """By sequence, seconds by which the reported positions trail the photos, where the motion shows it."""
        return self._read(results.read_sequence_lags)

    def current(self, bbox: Box | None = None) -> Iterator[StoredResult]:
        """Active results, corrections and rejections; bbox (west, south, east, north) in degrees."""
        return self.results(ResultFilter(area=bbox))

    def to_geopandas(self, layer: str = "current_correction") -> GeoDataFrame:
        """A layer as a GeoDataFrame in WGS84, a row per photo, anchor or recording; `docs/catalog.md` lists them.

        Args:
            layer: "current_correction" (accepted poses), "review_queue", "rejected", "displacement", "anchor", ….

        Raises:
            DatabaseError: there is no layer of this name (views without a place are none).
        """
        import geopandas
        import pandas

        views = {view.name for view in views_of(self._engine.dialect.name) if view.spatial is not None}
        if layer not in views | {"anchor", "image", "correction"}:
            raise DatabaseError(f"{self.address}: no layer {layer!r}")
        if self._engine.dialect.name == "sqlite":
            frame = geopandas.read_file(self._engine.url.database, layer=layer)
        else:
            whole = select(text("*")).select_from(table(layer))
            frame = self._read(lambda c: geopandas.read_postgis(whole, c, crs="EPSG:4326")).rename_geometry("geometry")
        for name in frame.columns[frame.columns.str.endswith("_at")]:
            frame[name] = pandas.to_datetime(frame[name], utc=True)
        return frame

    def counts(self, run_key: str | None = None) -> dict[str, int]:
        """Number of results by status: of one run, or of all active ones."""
        return self._read(lambda c: results.count_by(c, "status", run_key))

    def reasons(self, run_key: str | None = None) -> dict[str, int]:
        """Number of rejections by reason: of one run, or of all active ones."""
        return self._read(lambda c: results.count_by(c, "reason", run_key))

    def retract(self, image_ids: Sequence[str], because: str, run_key: str | None = None) -> int:
        """Retract results of some images (the active ones, or those of one run); returns how many."""
        now = self._clock()
        return self._write(lambda c: results.retract_results(c, image_ids, because, now, run_key))

    def rollback(self, run_key: str, because: str = "") -> int:
        """Deactivate all results of a run, so that earlier ones become active again; returns how many it has."""
        checked_texts({"because": because}, "rollback")
        return self._change_run(run_key, rolled_back_at=self._clock(), rolled_back_because=because)

    def restore(self, run_key: str) -> int:
        """Undo `rollback`."""
        return self._change_run(run_key, rolled_back_at=None, rolled_back_because=None)

    def _read(self, work: Callable[[Connection], T]) -> T:
        return with_retries(self._engine, work)

    def _write(self, work: Callable[[Connection], T]) -> T:
        return write_with_retries(self._engine, work)

    def _change_run(self, run_key: str, **values: Any) -> int:
        def change(connection: Connection) -> int:
            fid = results.run_fid(connection, run_key)
            connection.execute(update(schema.run).where(schema.run.c.fid == fid).values(**values))
            c = schema.correction.c
            return int(connection.execute(select(func.count()).where(c.run_id == fid)).scalar_one())

        return self._write(change)


def begin_run_on(connection: Connection, manifest: RunManifest) -> int:
    """`Catalog.begin_run` as part of a transaction."""
    run = schema.run
    row = connection.execute(select(run).where(run.c.run_key == manifest.run_key)).mappings().first()
    if row is None:
        values = {f.name: getattr(manifest, f.name) for f in fields(manifest)}
        values |= {"last_started_at": manifest.started_at, "config": dict(manifest.config)}
        inserted = connection.execute(insert(run).values(**checked_texts(values, "run")))
        key = inserted.inserted_primary_key
        assert key is not None
        return int(key[0])
    if row["rolled_back_at"] is not None:
        raise DatabaseError(
            f"run {manifest.run_key[:12]} was rolled back ({row['rolled_back_because'] or 'no reason given'}); bring "
            f"it back with `geocorrect db restore {manifest.run_key[:12]}` or change the configuration"
        )
    change = update(run).where(run.c.fid == row["fid"])
    connection.execute(
        change.values(
            last_started_at=manifest.started_at, n_starts=run.c.n_starts + 1, n_due=manifest.n_due, finished_at=None
        )
    )
    return int(row["fid"])
