"""Ways from observations to a pose, one per file behind `base.Estimator`."""
