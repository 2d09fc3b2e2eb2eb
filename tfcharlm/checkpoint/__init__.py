"""Checkpoints: everything that a run needs to go on, whole on the disk or noticed not to be."""

from tfcharlm.checkpoint.callback import SECONDS, Checkpoint
from tfcharlm.checkpoint.store import CheckpointError, CheckpointStore

__all__ = ["SECONDS", "Checkpoint", "CheckpointError", "CheckpointStore"]
