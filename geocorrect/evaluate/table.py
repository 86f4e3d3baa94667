"""The one typed table of an evaluation: a row per answer, from which every printed table and figure is a query.

While an evaluation runs its rows are lines of a journal, so that a killed one continues; finished, they are a Parquet
file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, get_type_hints

from geocorrect.errors import InputError, OutputError
from geocorrect.io.atomic_file import atomic_path
from geocorrect.records import NAN


@dataclass(frozen=True)
class Row:
    """One answer: a query, the anchors it was localised from, depth, estimator, configuration and seed.

    nan and the empty text mean unknown, or that it does not apply.
    """

    protocol: str
    """`own` or `vbr`."""
    scene: str
    """Drive or data set."""
    query_id: str
    anchor_ids: str
    """Separated by blanks."""
    n_anchors: int
    depth: str
    """Name of what gave depth (H)."""
    depth_is_oracle: bool
    """Whether measured depth of the very anchor was used in any way."""
    matcher: str
    estimator: str
    config_hash: str
    """Of everything that the answer depends on beside the photos."""
    seed: int
    status: str
    """accepted, review or rejected; vbr, which has no gate: solved or failed."""
    reason: str = ""
    """Why there is no pose."""
    transform_m: float = NAN
    """Error of the translation of query_from_anchor; its median is the thesis' MTE. One anchor only."""
    centre_m: float = NAN
    """Distance of the camera centre from the true one."""
    horizontal_m: float = NAN
    """Its horizontal part."""
    rotation_deg: float = NAN
    x_m: float = NAN
    y_m: float = NAN
    z_m: float = NAN
    """Error of the translation of query_from_anchor along the axes of the true query camera."""
    abs_rel: float = NAN
    abs_rel_x: float = NAN
    abs_rel_y: float = NAN
    abs_rel_z: float = NAN
    """Relative error of the anchor's depth as points, and per axis."""
    n_depth: int = 0
    """Pixels behind them."""
    scale_x: float = NAN
    scale_y: float = NAN
    scale_z: float = NAN
    """Factors that the depth was multiplied by."""
    n_matches: int = 0
    n_inliers: int = 0
    """Over all anchors."""
    random_set: str = ""
    place_set: str = ""
    """Of a mined pair, see `mining.run.SplitPair`."""
    score: int = 0
    """Of the mined pair: the smaller count of F-RANSAC inliers of its two orders."""
    baseline_m: float = NAN
    """True distance of the query from its nearest anchor in use."""
    gap_m: float = NAN
    """Anchors nearer than this to the query were left out."""
    reported_m: float = NAN
    """Horizontal error of the position that the query was given."""
    expected_m: float = NAN
    """Horizontal error, 68 %, that the method stated."""
    expected_heading_deg: float = NAN
    heading_error_deg: float = NAN
    chi2: float = NAN
    """Squared position error in units of the stated covariance, three degrees of freedom."""
    gate: str = ""
    """What the gate looked at, as JSON (`localize.gate.GateStatistics`), and the factor on the covariance at the time:
    what `benchmarks/calibrate_gate.py` fits to."""
    inflation: float = NAN


NAMES = tuple(field.name for field in fields(Row))


def write_table(rows: Sequence[Any], path: Path, kind: type[Any] = Row) -> None:
    """Rows of one dataclass as Parquet, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    types = get_type_hints(kind)
    schema = pa.schema([(field.name, arrow[types[field.name].__name__]) for field in fields(kind)])
    columns = [pa.array([getattr(row, name) for row in rows], schema.field(name).type) for name in schema.names]
    with atomic_path(path) as unfinished:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), unfinished, compression="zstd")


def read_table(path: Path, kind: type[Any] = Row) -> list[Any]:
    """What `write_table` wrote; InputError naming the file when it is something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return [kind(**row) for row in pq.read_table(path).to_pylist()]
    except (OSError, pa.ArrowException, TypeError) as error:
        raise InputError(f"{path}: not a table of {kind.__name__} rows ({error})") from None


class Journal:
    """Results by key, one JSON line each, appended as they come; a line that a kill cut short is ignored.

    The file is made with the first result: an evaluation that cannot start leaves nothing behind.
    """

    def __init__(self, path: Path) -> None:
        """Read what an earlier run has left; InputError when it cannot be read."""
        self.path = path
        self.known: dict[str, Any] = {}
        self._stream: IO[bytes] | None = None
        self._is_torn = False
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        self._is_torn = not data.endswith(b"\n")
        for line in data.decode("utf-8", "replace").splitlines():
            try:
                key, value = json.loads(line)
            except (ValueError, TypeError):
                continue
            self.known[str(key)] = value

    def add(self, key: str, value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Keep a result; OutputError naming the file when it cannot be written."""
        self.known[key] = value
        try:
            if self._stream is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self.path.open("ab")
                if self._is_torn:
                    self._stream.write(b"\n")
            self._stream.write(json.dumps([key, value]).encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from None

    def add_rows(self, key: str, rows: Iterable[Row]) -> None:
        """Keep the rows of one unit of work."""
        self.add(key, [asdict(row) for row in rows])

    def rows(self, keys: Iterable[str]) -> list[Row]:
        """The rows of the given units of work, in their order."""
        return [Row(**values) for key in keys for values in self.known.get(key, [])]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
