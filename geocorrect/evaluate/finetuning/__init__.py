"""What fine-tuning a point head did, drawn: curves, depth and confidence by epoch, and the grid of losses."""
