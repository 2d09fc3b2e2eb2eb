"""What lets a search survive the death of any process and damage to any file: the oracle, its workers, their files."""

from tfcharlm.tuning.fault_tolerance.connection import connect
from tfcharlm.tuning.fault_tolerance.leases import DEFAULT_STALL_SECONDS, process_of
from tfcharlm.tuning.fault_tolerance.oracles import KINDS, make_oracle
from tfcharlm.tuning.fault_tolerance.secret import forget_secret, make_secret
from tfcharlm.tuning.fault_tolerance.service import Server
from tfcharlm.tuning.fault_tolerance.trial_files import TrialFiles
from tfcharlm.tuning.fault_tolerance.tuner import SearchTuner
from tfcharlm.tuning.fault_tolerance.workers import Workers, end_with_chief

__all__ = [
    "DEFAULT_STALL_SECONDS",
    "KINDS",
    "SearchTuner",
    "Server",
    "TrialFiles",
    "Workers",
    "connect",
    "end_with_chief",
    "forget_secret",
    "make_oracle",
    "make_secret",
    "process_of",
]
