"""The matcher, depth source and retrieval that settings ask for, built from the registries of their rooms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from geocorrect.config import Settings
from geocorrect.depth import registry as depth
from geocorrect.depth.base import DepthSource
from geocorrect.depth.calibration.neighbours import NeighbourCache
from geocorrect.depth.calibration.stored import NeighbourDepth
from geocorrect.errors import InputError
from geocorrect.localize.correct import JOINT
from geocorrect.localize.estimators.base import Estimator
from geocorrect.localize.estimators.pooled import OpenCvEstimator, PoseLibEstimator
from geocorrect.localize.focal_prior import FocalNetwork
from geocorrect.match import registry as match
from geocorrect.match.base import Matcher
from geocorrect.match.cascade import first_stage
from geocorrect.networks.runtime import require_libraries, with_runtime
from geocorrect.records import Anchor, AnchorView
from geocorrect.retrieve.appearance import Describer, TokenDescriber
from geocorrect.retrieve.by_appearance import AppearanceRetriever
from geocorrect.retrieve.vlad import LocalFeatures, VladDescriber

if TYPE_CHECKING:
    from geocorrect.networks.mapanything.engine import MapAnythingEngine


class Backends:
    """The matcher and the depth source of a run, for its plan: no photo is read, no weights are loaded."""

    def __init__(self, settings: Settings) -> None:
        """Choose what the settings name; ModelError, with the command that fetches them, when weights are missing."""
        self.matcher = build_matcher(settings)
        self.fingerprints = (
            self.matcher.fingerprint,
            build_depth(settings, self.matcher).fingerprint,
            *further_fingerprints(build_estimator(settings, _no_pixels), build_focal_network(settings)),
        )


def build_matcher(settings: Settings) -> Matcher:
    """See `match.registry.build_matcher`."""
    return match.build_matcher(settings.with_shared_checkpoints().match, settings.models)


def build_depth(
    settings: Settings, matcher: Matcher | None = None, neighbours: NeighbourCache | None = None
) -> DepthSource:
    """The configured depth source; ModelError when its weights are missing.

    Args:
        settings: The configuration.
        matcher: Matches an anchor with its neighbours, the first stage of a cascade; by default the configured one.
        neighbours: Knows the neighbours of each anchor; without them a source that looks at neighbours can only state
            its fingerprint.
    """
    settings = settings.with_shared_checkpoints()
    if not settings.depth.needs_neighbours:
        return depth.build_single_view_depth(settings.depth, settings.models)
    matcher = first_stage(matcher or build_matcher(settings))
    neighbours = neighbours or NeighbourCache(_no_pixels)
    if settings.depth.shows_neighbours and not settings.depth.calibrate:
        return depth.build_depth_beside_neighbours(
            settings.depth, settings.models, matcher, neighbours,
            calibrations_folder=settings.calibrations.folder, masks=settings.localize.verify.masks,
        )  # fmt: skip
    return build_neighbour_depth(settings, matcher, neighbours)


def build_neighbour_depth(settings: Settings, matcher: Matcher, neighbours: NeighbourCache) -> NeighbourDepth:
    """See `depth.registry.build_neighbour_depth`."""
    return depth.build_neighbour_depth(
        settings.with_shared_checkpoints().depth,
        settings.models,
        first_stage(matcher),
        neighbours,
        calibrations_folder=settings.calibrations.folder,
        masks=settings.localize.verify.masks,
    )


def build_estimator(settings: Settings, view: Callable[[Anchor], AnchorView]) -> Estimator:
    """What finds the pose of a photo; ModelError when its weights are missing.

    A network's file is named where it serves first: [depth.mapanything], [match.mickey].
    """
    options = settings.localize
    if options.estimator == "mapanything":
        from geocorrect.localize.estimators.mapanything import MapAnythingEstimator

        return MapAnythingEstimator(_mapanything(settings), view, options.mapanything)
    if options.estimator == "mickey":
        from geocorrect.localize.estimators.mickey import MickeyEstimator
        from geocorrect.match.mickey import build

        return MickeyEstimator(build(with_runtime(settings.match.mickey, settings.models)), view, options.mickey)
    if options.estimator == "poselib":
        return PoseLibEstimator()
    if options.estimator == "opencv":
        return OpenCvEstimator(options.opencv)
    return JOINT


def build_focal_network(settings: Settings) -> FocalNetwork | None:
    """The network that photos of unknown focal length are shown to; None: none is."""
    return _mapanything(settings) if settings.camera.focal == "mapanything" else None


def further_fingerprints(estimator: Estimator, focal: FocalNetwork | None) -> tuple[str, ...]:
    """Of what results depend on beside matcher and depth; empty in the default configuration."""
    return (*(() if estimator is JOINT else (estimator.fingerprint,)), *(() if focal is None else (focal.fingerprint,)))


def _mapanything(settings: Settings) -> MapAnythingEngine:
    require_libraries()
    from geocorrect.networks.mapanything.loading import load_engine

    options = settings.depth.mapanything
    return load_engine(settings.models, options.weights, options.checkpoint)


def build_appearance(
    settings: Settings, matcher: Matcher, view: Callable[[Anchor], AnchorView]
) -> AppearanceRetriever | None:
    """Retrieval by appearance with what the matcher computes anyway; None when it is off.

    Args:
        settings: The configuration.
        matcher: The matcher in use: the tokens of its encoder, else its local features, describe the photos.
        view: Reads an anchor's pixels; raises InputError naming the file.

    Raises:
        ConfigError: the matcher has nothing to compare single photos by.
        ModelError: the whitening cannot be read.
    """
    options = settings.retrieve.appearance
    if options.mode == "off":
        return None
    engine, features = match.token_engine(matcher), match.local_features(matcher)
    options.require_descriptors(settings.match.matcher, engine is not None or features is not None)
    describer: Describer
    if engine is not None:
        describer = TokenDescriber(engine, options.whitening)
    else:
        assert features is not None
        describer = VladDescriber(LocalFeatures(*features), options.folder)
    return AppearanceRetriever(describer, settings.retrieve, lambda anchor: view(anchor).pixels)


def _no_pixels(anchor: Anchor) -> AnchorView:
    raise InputError(f"anchor {anchor.id}: no pixels here")
