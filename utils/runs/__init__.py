"""The folder of a run and what it holds: checkpoints, progress, predictions."""
