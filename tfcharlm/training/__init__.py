"""Training runs: their configuration, a size suggested for the time they have, schedules and evaluations."""

from tfcharlm.training.annealing import AnnealLearningRate
from tfcharlm.training.build import build_model, build_optimizer, log_frequencies
from tfcharlm.training.cluster import strategy_from_environment, workers_on_this_machine
from tfcharlm.training.config import BUDGETS, CHOICES, OPTIONS, SEARCHED, SUGGESTED, TUNABLE, TrainingConfig
from tfcharlm.training.evaluation import Evaluation, PeriodicEvaluation, averaged_weights
from tfcharlm.training.fine_tuning import (
    architecture,
    fine_tuning_run,
    joint_vocabulary,
    unigram_loss,
    weights_sha256,
    with_architecture,
)
from tfcharlm.training.overfitting import is_overfitting
from tfcharlm.training.peers import MissingWorkerError, Patience, ends_on_sigterm, parse_address, resolution_error
from tfcharlm.training.planning import Plan, suggested_options, tokens_per_step
from tfcharlm.training.reserve import EndReserve
from tfcharlm.training.result import TrainingDivergedError, TrainingResult
from tfcharlm.training.run import TrainingRun
from tfcharlm.training.schedule import SCHEDULES, Budget, learning_rate_at
from tfcharlm.training.search_space import SEARCHED_AROUND, fitting_shapes, space_around
from tfcharlm.training.sizing import START_UP, measured_speed, suggest_config
from tfcharlm.training.timing import BUSY, CoreWaiting, StepTiming, time_steps

__all__ = [
    "BUDGETS",
    "BUSY",
    "CHOICES",
    "OPTIONS",
    "SCHEDULES",
    "SEARCHED",
    "SEARCHED_AROUND",
    "START_UP",
    "SUGGESTED",
    "TUNABLE",
    "AnnealLearningRate",
    "Budget",
    "CoreWaiting",
    "EndReserve",
    "Evaluation",
    "MissingWorkerError",
    "Patience",
    "PeriodicEvaluation",
    "Plan",
    "StepTiming",
    "TrainingConfig",
    "TrainingDivergedError",
    "TrainingResult",
    "TrainingRun",
    "architecture",
    "averaged_weights",
    "build_model",
    "build_optimizer",
    "ends_on_sigterm",
    "fine_tuning_run",
    "fitting_shapes",
    "is_overfitting",
    "joint_vocabulary",
    "learning_rate_at",
    "log_frequencies",
    "measured_speed",
    "parse_address",
    "resolution_error",
    "space_around",
    "strategy_from_environment",
    "suggest_config",
    "suggested_options",
    "time_steps",
    "tokens_per_step",
    "unigram_loss",
    "weights_sha256",
    "with_architecture",
    "workers_on_this_machine",
]
