"""What a run did as a Prometheus text file, for the textfile collector of the node exporter.

Every sample names its catalog, so that the files of several scenes can lie in one folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geocorrect.errors import Reason, Status
from geocorrect.io.atomic_file import atomic_path

HELP: dict[str, str] = {
    "run_info": "1; the labels say which run this is.",
    "run_active": "1 while the run works, 0 when it has ended.",
    "run_started_timestamp_seconds": "When the run started.",
    "run_updated_timestamp_seconds": "When this file was written.",
    "run_last_success_timestamp_seconds": "When a run last ended with exit code 0.",
    "run_duration_seconds": "Wall-clock time of the run until now.",
    "run_cpu_seconds": "CPU time of the run and its ended worker processes.",
    "run_peak_memory_bytes": "Largest resident memory of the run's main process.",
    "run_exit_code": "How the run ended (see the README); absent while it works.",
    "run_images_due": "Images that were due when the run started.",
    "run_images_done": "Images that got a result in this run.",
    "run_images": "Results of this run by status.",
    "run_rejections": "Rejections of this run by reason.",
    "run_unusable_anchors": "Anchors whose files could not be read.",
    "harvest_images": "Images seen by the harvest, by what is new about them.",
    "harvest_holes": "Parts of the area that the service would not answer for.",
    "harvest_received_bytes": "Bytes of pictures received.",
}
LABEL_OF = {"run_images": "status", "run_rejections": "reason", "harvest_images": "change"}
LAST_SUCCESS = "geocorrect_run_last_success_timestamp_seconds"


@dataclass
class RunMetrics:
    """The samples of one run."""

    catalog: str
    """A label of every sample."""
    info: Mapping[str, str] = field(default_factory=dict)
    """Further labels of `run_info`."""
    values: dict[str, float | Mapping[str, float]] = field(default_factory=dict)
    """Value by metric name, or by the value of the metric's one label."""

    def count_results(self, by_status: Mapping[Status, int], by_reason: Mapping[str, int]) -> None:
        """Every status and every reason of the closed lists is there, so that a rate never starts from nothing."""
        self.values["run_images"] = {status.value: by_status.get(status, 0) for status in Status}
        self.values["run_rejections"] = {reason.value: by_reason.get(reason.value, 0) for reason in Reason}

    def text(self) -> str:
        """The file's content."""
        from prometheus_client import CollectorRegistry, Gauge, generate_latest

        registry = CollectorRegistry()
        for name, value in {"run_info": 1.0, **self.values}.items():
            more = self.info if name == "run_info" else {}
            kinds = {LABEL_OF[name]: value} if isinstance(value, Mapping) else {}
            gauge = Gauge(f"geocorrect_{name}", HELP[name], ["catalog", *more, *kinds], registry=registry)
            if isinstance(value, Mapping):
                for kind, number in value.items():
                    gauge.labels(self.catalog, kind).set(number)
            else:
                gauge.labels(self.catalog, *more.values()).set(value)
        return generate_latest(registry).decode()

    def write(self, path: Path) -> None:
        """Replace the file; OutputError when it cannot be written. The collector never sees a half-written one."""
        # The collector reads every *.prom, hidden ones too: the unfinished file must not end so.
        with atomic_path(path, suffix=".part") as unfinished:
            unfinished.write_text(self.text(), encoding="utf-8")


def last_success_s(path: Path) -> float:
    """When a run last succeeded, by the file of an earlier one; nan when it says nothing."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return math.nan
    return next((f.samples[0].value for f in families if f.name == LAST_SUCCESS and f.samples), math.nan)
