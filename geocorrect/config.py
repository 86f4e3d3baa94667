"""geocorrect.toml → frozen, hashed settings. Unknown keys are errors; the environment overrides the file.

Precedence: environment (`GEOCORRECT__BATCH__WORKERS=2`) over file over default. The options of a room are its
own frozen dataclass; this module only puts them together, so every default is written in exactly one place.
Secrets are not settings: the Mapillary token comes from MAPILLARY_TOKEN, a database password best from PGPASSWORD.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from geocorrect.depth.options import DepthSection
from geocorrect.errors import ConfigError, ModelError, UsageError
from geocorrect.harvest.options import HarvestOptions
from geocorrect.io.checksum import sha256_of
from geocorrect.localize.focal_prior import FocalPriorOptions
from geocorrect.localize.joint.device_lens import DeviceLens
from geocorrect.localize.options import LocalizeOptions
from geocorrect.log import LogOptions
from geocorrect.match.options import MatcherName, MatchSection
from geocorrect.match.registry import describes_photos
from geocorrect.networks.runtime import Runtime
from geocorrect.redaction import is_server_address, masked
from geocorrect.retrieve.options import RetrieveOptions
from geocorrect.sequences.options import SequenceOptions

ENV_PREFIX = "GEOCORRECT__"
RENAMED = {"batch.cached_anchors": "counted anchors, whatever their size; use batch.cached_anchors_mib, MiB a worker"}
"""Keys of former versions, and what to write instead."""
CHECKPOINTS = (
    ("match", "mast3r"),
    ("match", "mickey"),
    ("depth", "mast3r"),
    ("depth", "mickey"),
    ("depth", "mapanything"),
)
"""Sections with a file of weights of one's own; its content counts, not its path."""
SHARED_CHECKPOINTS: Mapping[str, tuple[str, ...]] = {
    "mast3r": ("checkpoint",),
    "mickey": ("checkpoint", "backbone"),
}
"""Networks that match and give depth, and the keys that name their files."""
WEIGHT_FILES = ("checkpoint", "backbone", "head_file")
"""Keys of those sections that name files."""
DEFAULT_FILE = Path("geocorrect.toml")


@dataclass(frozen=True)
class CatalogSection:
    """Where results live: a GeoPackage path or `postgresql://user@host/database`."""

    url: str = field(default="corrections.gpkg", repr=False)

    @property
    def address(self) -> str:
        """The url without its secrets: for messages, logs and records."""
        return masked(self.url)


@dataclass(frozen=True)
class ImagesSection:
    """Where harvested photos are stored."""

    folder: Path = Path("images")


@dataclass(frozen=True)
class CalibrationsSection:
    """Where `geocorrect anchors calibrate` keeps what neighbours say about the anchors' depth."""

    folder: Path = Path("calibrations")


@dataclass(frozen=True)
class AreaSection:
    """What `geocorrect run` harvests: a box, a file, the surroundings of the anchors, or nothing."""

    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees."""
    file: Path | None = None
    """GeoJSON."""
    around_anchors_m: float | None = None
    """Everything within so many metres of an anchor of the catalog, as it is when a run begins."""

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.bbox, self.file, self.around_anchors_m)) > 1:
            raise ValueError("give one of bbox, file and around_anchors_m")
        if self.around_anchors_m is not None and not 0 < self.around_anchors_m <= 10_000:
            raise ValueError(f"around_anchors_m must be above 0 and at most 10000, got {self.around_anchors_m}")


@dataclass(frozen=True)
class ExportSection:
    """Files that `geocorrect run` writes at its end; the ending chooses the format."""

    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class BatchOptions:
    """How much is done at once, and when a run counts as failed."""

    engine: Literal["local", "in-process", "ray"] = "local"
    """local: worker processes, which an image can kill without ending the run (a script that starts them guards its own
    start with `if __name__ == "__main__"`). in-process: one image after the other in this process, for notebooks and
    debuggers; it notices the time limit only between two calls into compiled code, and no memory limit. ray (extra
    `ray`): actors, each with cpus_per_worker and gpus_per_worker of the cluster at ray_address."""
    workers: int = 1
    """Processes or actors."""
    images_per_transaction: int = 20
    """Results are written in groups of this size, as they come."""
    cached_anchors_mib: int = 1024
    """Of the anchors that a worker used last, pixels and depth stay in its memory, up to so many MiB."""
    seed: int = 0
    """Makes every random choice of a run repeatable."""
    max_rejected_share: float = 1.0
    """Above it the run ends with exit code 7 (0…1). Most photos of a whole area are out of the anchors' sight, so the
    default never complains."""
    metrics_file: Path | None = None
    """A Prometheus text file, kept up to date while a run works."""
    image_time_limit_s: float = 900.0
    """An image that takes longer is rejected (inf: none)."""
    worker_memory_limit_mb: float = math.inf
    """A worker whose resident memory is above it is killed and its image rejected (inf: none)."""
    ray_address: str | None = None
    """`auto`, host:port; None: a cluster of this machine alone, for the length of the run."""
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if min(self.workers, self.images_per_transaction, self.cached_anchors_mib) < 1:
            raise ValueError("batch: workers, images_per_transaction and cached_anchors_mib must be at least 1")
        if self.engine == "in-process" and (self.workers > 1 or math.isfinite(self.worker_memory_limit_mb)):
            raise ValueError('batch: engine = "in-process" is one worker without a memory limit')
        if not 0.0 <= self.max_rejected_share <= 1.0:
            raise ValueError("batch: max_rejected_share must be between 0 and 1")
        if not (self.image_time_limit_s > 0 and self.worker_memory_limit_mb > 0):
            raise ValueError("batch: image_time_limit_s and worker_memory_limit_mb must be positive (inf: no limit)")
        if not (self.cpus_per_worker > 0 and self.gpus_per_worker >= 0):
            raise ValueError("batch: cpus_per_worker must be positive and gpus_per_worker not negative")


@dataclass(frozen=True)
class CameraSection:
    """What is known of the photos' lenses beside their records."""

    focal: Literal["given", "mapanything"] = "given"
    """mapanything: photos that state no focal length get a prior on it from the network's rays."""
    prior: FocalPriorOptions = field(default_factory=FocalPriorOptions)
    lenses: tuple[DeviceLens, ...] = ()
    """Of kinds of devices, in place of what their photos state; `geocorrect devices` finds them."""


class Settings(BaseModel):
    """The resolved configuration; frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    catalog: CatalogSection = CatalogSection()
    images: ImagesSection = ImagesSection()
    area: AreaSection = AreaSection()
    export: ExportSection = ExportSection()
    harvest: HarvestOptions = HarvestOptions()
    retrieve: RetrieveOptions = RetrieveOptions()
    camera: CameraSection = CameraSection()
    match: MatchSection = MatchSection()
    depth: DepthSection = DepthSection()
    calibrations: CalibrationsSection = CalibrationsSection()
    models: Runtime = Runtime()
    localize: LocalizeOptions = LocalizeOptions()
    sequence: SequenceOptions = SequenceOptions()
    batch: BatchOptions = BatchOptions()
    log: LogOptions = LogOptions()

    def as_json(self) -> dict[str, Any]:
        """The whole configuration as plain JSON values, without secrets."""
        plain = self.model_dump(mode="json")
        plain["catalog"]["url"] = self.catalog.address
        return plain

    def with_shared_checkpoints(self) -> Settings:
        """The settings with a file of weights that [match.X] or [depth.X] names alone used for both."""
        match, depth = self.match, self.depth
        for name, keys in SHARED_CHECKPOINTS.items():
            own, other = getattr(match, name), getattr(depth, name)
            if own.checkpoint is None:
                match = replace(match, **{name: replace(own, **{key: getattr(other, key) for key in keys})})
            elif other.checkpoint is None:
                depth = replace(depth, **{name: replace(other, **{key: getattr(own, key) for key in keys})})
        return self.model_copy(update={"match": match, "depth": depth})

    def fingerprint(self) -> str:
        """Hex sha256 of the settings that can change a result; where and how fast it is computed are left out.

        Files of weights count by content, not by path: those of networks in the back-end's own fingerprint, a whitening
        here. ModelError when it is missing.
        """
        settings = self.as_json()
        relevant = {key: settings[key] for key in ("retrieve", "camera", "match", "depth", "localize")}
        relevant["seed"] = self.batch.seed
        del relevant["depth"]["files"]["folder"], relevant["depth"]["files"]["licence"]
        for name in ("folder", "cache_mib"):
            del relevant["depth"]["pointcloud"][name]
        del relevant["depth"]["reconstruction"]
        for section, name in CHECKPOINTS:
            for key in WEIGHT_FILES:
                relevant[section][name].pop(key, None)
        del relevant["match"]["sift"]["cached_images"]
        appearance = relevant["retrieve"]["appearance"]
        del appearance["folder"]
        if (whitening := self.retrieve.appearance.whitening) is not None:
            appearance["whitening"] = _content_of(whitening)
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class ResolvedSettings:
    """Settings and, per dotted key that was not left at its default, where the value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(dotted key, value, origin) of every setting, in the order of the sections."""
        for key, value in _flatten(self.settings.as_json()):
            yield key, value, self.origins.get(key, "default")


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> ResolvedSettings:
    """Read geocorrect.toml (when there is one, or when `path` names one) and the environment.

    Relative paths in the file are taken from the file's folder, so that a scheduled job may start anywhere.
    Raises ConfigError naming file, key and remedy.
    """
    environment = os.environ if environment is None else environment
    file = path or DEFAULT_FILE
    values: dict[str, Any] = {}
    if path is not None or file.is_file():
        values = _read_toml(file)
    origins = {key: str(file) for key, _ in _flatten(values)}
    for key, value in _environment_values(environment):
        _put(values, key.split("."), value)
        origins[key] = f"environment {ENV_PREFIX}{key.upper().replace('.', '__')}"
    try:
        settings = TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, origins, file)) from None
    try:
        settings.retrieve.appearance.require_descriptors(settings.match.matcher, describes_photos(settings.match))
    except ConfigError as error:
        raise ConfigError(f"{origins.get('retrieve.appearance.mode', file)}: {error}") from None
    return ResolvedSettings(_resolve_paths(settings, file.parent), origins)


def with_depth(settings: Settings, name: str) -> Settings:
    """The settings with another depth source; see `DepthSection.with_source`."""
    return settings.model_copy(update={"depth": settings.depth.with_source(name)})


def with_matcher(settings: Settings, name: str) -> Settings:
    """The settings with another matcher; UsageError listing the known ones."""
    if name not in get_args(MatcherName):
        raise UsageError(f"matcher {name!r}: use one of {', '.join(get_args(MatcherName))}")
    return settings.model_copy(update={"match": replace(settings.match, matcher=name)})  # type: ignore[arg-type]


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; `geocorrect init` writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None


def _environment_values(environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name in sorted(environment):
        if name.startswith(ENV_PREFIX):
            text = environment[name]
            try:
                value = tomllib.loads(f"v = {text}")["v"]
            except tomllib.TOMLDecodeError:
                value = text
            yield name[len(ENV_PREFIX) :].lower().replace("__", "."), value


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{key} is given a value, but it is a section, of which {keys[-1]} is given, too")
    tree[keys[-1]] = value


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _explain(error: ValidationError, origins: Mapping[str, str], file: Path) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        where = origins.get(key, str(file))
        if problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            what = RENAMED.get(key, "unknown key; `geocorrect config show` lists the known ones")
        else:
            given = problem["input"]
            what = f"{problem['msg']} (got {(masked(given) if isinstance(given, str) else given)!r})"
        lines.append(f"{where}: [{key}] {what}")
    return "\n".join(lines)


def _resolve_paths(settings: Settings, base: Path) -> Settings:
    catalog = settings.catalog
    if "://" not in catalog.url and not is_server_address(catalog.url):
        catalog = CatalogSection(str((base / catalog.url).resolve()))
    area_file, metrics_file = settings.area.file, settings.batch.metrics_file
    models, appearance, depth = settings.models, settings.retrieve.appearance, settings.depth

    def resolved(path: Path | None) -> Path | None:
        return path and (base / path).resolve()

    sections: dict[str, Any] = {
        "match": settings.match,
        "depth": replace(
            depth,
            files=replace(depth.files, folder=resolved(depth.files.folder)),
            pointcloud=replace(depth.pointcloud, folder=(base / depth.pointcloud.folder).resolve()),
            reconstruction=replace(depth.reconstruction, folder=(base / depth.reconstruction.folder).resolve()),
        ),
    }
    for section, name in CHECKPOINTS:
        options = getattr(sections[section], name)
        paths = {key: resolved(getattr(options, key)) for key in WEIGHT_FILES if hasattr(options, key)}
        sections[section] = replace(sections[section], **{name: replace(options, **paths)})
    models = replace(
        models,
        cache_folder=resolved(models.cache_folder),
        access=replace(models.access, folder=resolved(models.access.folder)),
    )
    folder = (base / appearance.folder).resolve()
    appearance = replace(appearance, folder=folder, whitening=resolved(appearance.whitening))
    return settings.model_copy(
        update={
            "catalog": catalog,
            "images": ImagesSection((base / settings.images.folder).resolve()),
            **sections,
            "retrieve": replace(settings.retrieve, appearance=appearance),
            "calibrations": CalibrationsSection((base / settings.calibrations.folder).resolve()),
            "area": replace(settings.area, file=resolved(area_file)),
            "export": ExportSection(tuple((base / file).resolve() for file in settings.export.files)),
            "models": models,
            "batch": replace(settings.batch, metrics_file=resolved(metrics_file)),
        }
    )


def _content_of(whitening: Path) -> str:
    try:
        return sha256_of(whitening)
    except OSError as error:
        raise ModelError(f"{whitening}: the whitening cannot be read ({error.strerror})") from None
