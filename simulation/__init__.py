"""Error models with known truth, for benchmarks and tests; not part of the wheel."""
