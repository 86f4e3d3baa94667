"""Start-up time: `import geocorrect` and `geocorrect --help`, as a ratio to an empty Python in the same run.

    python benchmarks/startup.py [--quick]

The house rule: both stay under 0.5 s.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass (baseline)": ["-c", "pass"],
    "import geocorrect": ["-c", "import geocorrect"],
    "geocorrect --help": ["-m", "geocorrect", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 repetitions instead of 15")
    repetitions = 3 if parser.parse_args().quick else 15
    baseline = 0.0
    for name, arguments in COMMANDS.items():
        seconds(arguments)
        sample = sorted(seconds(arguments) for _ in range(repetitions))
        median = statistics.median(sample)
        baseline = baseline or median
        spread = f"[{sample[0]:.3f}–{sample[-1]:.3f}]"
        print(f"{name:28} {median:.3f} s {spread}, n = {repetitions}, {median / baseline:.1f}× baseline")


if __name__ == "__main__":
    main()
