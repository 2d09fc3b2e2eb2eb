"""TrialLease: what the training of a trial says to the heartbeats of its worker, and what they say to it."""

import threading

import keras


class TrialLease(keras.callbacks.Callback):
    """Counts the steps of a trial, and stops its training when the trial belongs to another worker.

    Attributes:
        steps: how many batches, evaluations and epochs the training loop has begun or ended.
        lost: an event that is set when this worker loses the trial.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.lost = 0, threading.Event()

    def _count(self, *arguments, **named):
        self.steps += 1
        if self.lost.is_set():
            self.model.stop_training = True

    on_train_batch_begin = on_train_batch_end = on_test_batch_begin = on_test_batch_end = _count
    on_epoch_begin = on_epoch_end = on_predict_batch_end = _count
