"""The parts with weights, named as the published checkpoints name them."""
