"""The service that the configuration names."""

from __future__ import annotations

from geocorrect.harvest.harvest import HarvestPlan, Progress, ShouldStop, run_harvest
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.panoramax.harvest import harvest_panoramax
from geocorrect.harvest.report import HarvestReport
from geocorrect.harvest.sink import ImageSink


def harvest_area(
    options: HarvestOptions,
    plan: HarvestPlan,
    sink: ImageSink,
    progress: Progress | None = None,
    should_stop: ShouldStop = lambda: False,
) -> HarvestReport:
    """Harvest from `options.source`; arguments, report and errors are those of `run_harvest`."""
    run = harvest_panoramax if options.source == "panoramax" else run_harvest
    return run(options, plan, sink, progress, should_stop)
