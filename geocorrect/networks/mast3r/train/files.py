"""Names in the folder of a training, for those who read it without torch."""

STATE_FILE = "training.ckpt"
HEAD_FILE = "head.safetensors"
HISTORY_FILE = "history.json"
VIEWS_FOLDER = "views"
"""By epoch, `003.npz`: depth and confidence of the first validation picture with measured points, and those points."""
