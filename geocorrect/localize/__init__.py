"""From matches and depth to a camera pose with its covariance, or a rejection with a reason. No files, no network."""
