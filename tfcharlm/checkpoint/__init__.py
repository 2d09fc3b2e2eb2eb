"""Checkpoints: everything that a run needs to continue, complete on the disk or known not to be."""

from tfcharlm.checkpoint.callback import SECONDS, Checkpoint
from tfcharlm.checkpoint.protocol import ResumableModel
from tfcharlm.checkpoint.state import check_same
from tfcharlm.checkpoint.store import CheckpointError, CheckpointStore

__all__ = ["SECONDS", "Checkpoint", "CheckpointError", "CheckpointStore", "ResumableModel", "check_same"]
