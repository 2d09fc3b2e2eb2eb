"""The workers of a command: how they meet, and how Ctrl-C interrupts all of them."""

import contextlib
import signal
from collections.abc import Iterator

import tensorflow as tf

from tfcharlm.kernels import available_cores, configure_threads
from tfcharlm.model import Replicas
from tfcharlm.training import strategy_from_environment, workers_on_this_machine


def join_cluster() -> tuple[tf.distribute.Strategy, bool]:
    """`(strategy, chief)`: the strategy that the environment describes, and whether this process writes the files.

    Workers on the same machine share its cores.
    """
    workers = workers_on_this_machine()
    if workers > 1:
        configure_threads(max(1, available_cores() // workers))
    strategy = strategy_from_environment()
    with strategy.scope():
        return strategy, Replicas().is_chief


@contextlib.contextmanager
def one_interruption(replicas: Replicas) -> Iterator[None]:
    """The first Ctrl-C interrupts all replicas after the same step. Further ones are ignored."""

    def interrupt(number, frame):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not replicas.is_distributed:
            raise KeyboardInterrupt
        replicas.interrupt()

    before = signal.getsignal(signal.SIGINT)
    # A shell starts background jobs with the signal ignored; then it stays ignored.
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
