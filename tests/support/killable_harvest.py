"""A process that harvests in forked children, so that a test can kill them without paying for imports every time.

Reads one JSON line per run from stdin (graph_url, tiles_url, folder, catalog), answers with the child's pid, and after
its end with its exit status.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from geocorrect.catalog.store import Catalog
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.harvest.options import HarvestOptions


def one_run(order: dict[str, str]) -> None:
    options = HarvestOptions(
        graph_url=order["graph_url"],
        tiles_url=order["tiles_url"],
        requests_per_s=1000.0,
        download_workers=3,
        private_image_hosts=True,
    )
    plan = HarvestPlan(Area.from_box(12.499, 41.899, 12.53, 41.93), Path(order["folder"]))
    with Catalog.open(order["catalog"], create=True) as catalog:
        report = run_harvest(options, plan, catalog)
    os._exit(int(report.exit_code))


def main() -> None:
    import mapbox_vector_tile  # noqa: F401
    from PIL import JpegImagePlugin  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            one_run(json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


main()
