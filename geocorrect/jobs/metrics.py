"""What a run did as a Prometheus text file, for the textfile collector of the node exporter.

Every sample names its catalog, so that the files of several scenes can lie in one folder. Format: Prometheus text
exposition format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
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
Samples = Mapping[str, float | Mapping[str, float]]
"""Value by metric name, or by the value of the metric's one label."""
LABEL_OF = {"run_images": "status", "run_rejections": "reason", "harvest_images": "change"}


@dataclass
class RunMetrics:
    """The samples of one run. labels: of every sample; info: further labels of `run_info`."""

    catalog: str
    info: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, float | Mapping[str, float]] = field(default_factory=dict)

    def count_results(self, by_status: Mapping[str, float], by_reason: Mapping[str, float]) -> None:
        """Every status and every reason of the closed lists is there, so that a rate never starts from nothing."""
        self.values["run_images"] = {status.value: by_status.get(status.value, 0) for status in Status}
        self.values["run_rejections"] = {reason.value: by_reason.get(reason.value, 0) for reason in Reason}

    def text(self) -> str:
        """The file's content."""
        return "".join(f"{line}\n" for line in self._lines())

    def write(self, path: Path) -> None:
        """Replace the file; OutputError when it cannot be written. The collector never sees a half-written one."""
        # The collector reads every *.prom, hidden ones too: the unfinished file must not end so.
        with atomic_path(path, suffix=".part") as unfinished:
            unfinished.write_text(self.text(), encoding="utf-8")

    def _lines(self) -> Iterator[str]:
        samples: dict[str, float | Mapping[str, float]] = {"run_info": 1.0, **self.values}
        for name, explanation in HELP.items():
            if name not in samples:
                continue
            yield f"# HELP geocorrect_{name} {explanation}"
            yield f"# TYPE geocorrect_{name} gauge"
            yield from self._samples(name, samples[name])

    def _samples(self, name: str, value: float | Mapping[str, float]) -> Iterator[str]:
        if isinstance(value, Mapping):
            for kind, number in value.items():
                yield _sample(name, [("catalog", self.catalog), (LABEL_OF[name], kind)], number)
        else:
            more = self.info.items() if name == "run_info" else ()
            yield _sample(name, [("catalog", self.catalog), *more], value)


def last_success_s(path: Path) -> float:
    """When a run last succeeded, by the file of an earlier one; nan when it says nothing."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return math.nan
    found = re.search(r"^geocorrect_run_last_success_timestamp_seconds\{.*\} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else math.nan


def _sample(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    text = ",".join(f'{label}="{_escaped(content)}"' for label, content in labels)
    return f"geocorrect_{name}{{{text}}} {float(value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
