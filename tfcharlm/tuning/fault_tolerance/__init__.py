"""What lets a search survive the death of any process and damage to any file: the oracle, its workers, their files."""

from tfcharlm.tuning.fault_tolerance.oracles import KINDS, make_oracle
from tfcharlm.tuning.fault_tolerance.trial_files import TrialFiles
from tfcharlm.tuning.fault_tolerance.tuner import SearchTuner
from tfcharlm.tuning.fault_tolerance.workers import Workers, end_with_chief

__all__ = ["KINDS", "SearchTuner", "TrialFiles", "Workers", "end_with_chief", "make_oracle"]
