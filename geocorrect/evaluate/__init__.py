"""Error against known truth: metrics, protocols on real data sets, tables."""
