"""Start-up: CPU seconds of `import geocorrect` and `geocorrect --help`, beside an empty Python in the same run.

    python benchmarks/startup.py [--quick]

The house rule: `geocorrect --help` takes 0.35 s of processor time at most.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

BASELINE = "python -c pass (baseline)"
COMMANDS = {
    BASELINE: ["-c", "pass"],
    "import geocorrect": ["-c", "import geocorrect"],
    "geocorrect --help": ["-m", "geocorrect", "--help"],
}


def cpu_s(arguments: list[str]) -> float:
    """Processor time of one process, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measured(repetitions: int) -> dict[str, list[float]]:
    """Sorted CPU seconds per command; one run of each before it counts."""
    samples: dict[str, list[float]] = {}
    for name, arguments in COMMANDS.items():
        cpu_s(arguments)
        samples[name] = sorted(cpu_s(arguments) for _ in range(repetitions))
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 repetitions instead of 15")
    repetitions = 3 if parser.parse_args().quick else 15
    samples = measured(repetitions)
    baseline = statistics.median(samples[BASELINE])
    for name, sample in samples.items():
        median = statistics.median(sample)
        spread = f"[{sample[0]:.3f}–{sample[-1]:.3f}]"
        print(f"{name:28} {median:.3f} s {spread}, n = {repetitions}, {median / baseline:.1f}× baseline")


if __name__ == "__main__":
    main()
