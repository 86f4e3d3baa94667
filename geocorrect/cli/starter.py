"""The commented configuration that `geocorrect init` writes."""

from __future__ import annotations

import os
from pathlib import Path

from geocorrect.errors import OutputError

STARTER = """# geocorrect configuration. Every key is optional; `geocorrect config show` lists them all.
# The environment overrides this file: GEOCORRECT__BATCH__WORKERS=4.
# Secrets do not belong here: the Mapillary token is read from MAPILLARY_TOKEN, the database password from PGPASSWORD.

[catalog]
url = "corrections.gpkg"        # or "postgresql://user@host/database"

[images]
folder = "images"               # harvested photos

[area]
# bbox = [12.507, 41.902, 12.512, 41.905]   # west, south, east, north in degrees; or file = "area.geojson"

[export]
files = []                      # written at the end of `geocorrect run`, e.g. ["corrections.geojson"]

[match]
matcher = "sift"                # weight-free; see `geocorrect models list` for networks

[depth]
source = "lidar"                # laser scans of the anchors; results are labelled as using measured depth
# source = "triangulated"       # from the anchors' neighbours: no scanner, no network; see docs/depth.md

[retrieve]
radius_m = 50.0                 # GPS error plus the range at which street photos still match
max_candidates = 8

[sequence]
enabled = true                  # `geocorrect run` compares the photos of each recording with each other

[batch]
workers = 1                     # processes
seed = 0
# metrics_file = "/var/lib/prometheus/node-exporter/geocorrect.prom"   # for Prometheus, see docs/operations.md

# [models]
# cache_folder = "cache"        # what networks computed of each photo, kept between runs; `geocorrect cache info`

# [log]
# level = "info"
# format = "json"               # one object per line, with run and image
"""


def write_starter(folder: Path, *, force: bool = False) -> Path:
    """Write geocorrect.toml into a folder (created if needed) and return its path; OutputError when it exists."""
    path = folder / "geocorrect.toml"
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; edit it, or use --force to start over")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".toml.part")
        temporary.write_text(STARTER, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    return path
