"""Checkpoints: everything that a run needs to resume, complete on the disk or known to be damaged."""

from tfcharlm.checkpoint.callback import SECONDS, Checkpoint
from tfcharlm.checkpoint.protocol import ResumableModel
from tfcharlm.checkpoint.state import assign, check_same, values_of
from tfcharlm.checkpoint.store import CheckpointError, CheckpointStore

__all__ = [
    "SECONDS",
    "Checkpoint",
    "CheckpointError",
    "CheckpointStore",
    "ResumableModel",
    "assign",
    "check_same",
    "values_of",
]
