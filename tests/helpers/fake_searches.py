"""Searches whose trials sleep instead of training. As a program, this module is a chief or a worker of one."""

import os
import random
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner

from tfcharlm.tuning import search


class Fake(keras_tuner.HyperModel):
    """Sleeps instead of training, and writes down when it begins and ends."""

    def __init__(self, directory, seconds=0.0):
        super().__init__()
        self.log, self.seconds, self.curves = Path(directory, "fits.txt"), seconds, []

    def note(self, event, hp):
        with self.log.open("a") as log:
            log.write(f"{event} {time.time()} {hp['x']!r}\n")

    def build(self, hp):
        hp.Float("x", 0, 1)
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def fit(self, hp, model, callbacks=(), epochs=2, initial_epoch=0):
        self.note("begin", hp)
        if "FAKE_HANGS" in os.environ and len(fits(self.log.parent, "begin")) == 1:
            callbacks[-1].on_epoch_begin(initial_epoch)
            threading.Event().wait()
        history = keras.callbacks.History()
        listeners = keras.callbacks.CallbackList([history, *callbacks], model=model)
        listeners.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            time.sleep(self.seconds * random.uniform(0.3, 0.7))
            model.layers[-1].bias.assign([epoch + 1])
            # The last report is not the best.
            listeners.on_epoch_end(epoch, {"val_loss": hp["x"] + 2 ** -(epoch % 2 == 0), "loss": 1.0})
        self.note("end", hp)
        return history


def fits(directory, event):
    lines = [line.split() for line in Path(directory, "fits.txt").read_text().splitlines()]
    return [(float(when), float(x)) for what, when, x in lines if what == event]


def main(directory, trials, seconds):
    """Chief or worker, as the environment says."""

    def over(trial):
        print("over", time.time(), trial.hyperparameters["x"], flush=True)

    tuner = search(
        Fake(directory, float(seconds)),
        "random",
        Path(directory, "search"),
        trials=int(trials),
        workers=2,
        resume=True,
        stall_seconds=float(os.environ.get("FAKE_STALL_SECONDS", 600)),
        on_trial=over,
        on_message=lambda message: print("message", time.time(), message, flush=True),
    )
    if tuner is not None and tuner.oracle.stopped_because:
        sys.exit(tuner.oracle.stopped_because)


if __name__ == "__main__":
    main(*sys.argv[1:])
