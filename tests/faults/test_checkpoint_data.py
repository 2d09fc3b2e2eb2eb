"""A run that resumes reads the batches that were left, wherever it stopped.

One process plays all of them: a kill is an exception that nothing catches.
"""

import numpy as np
import pytest
import tensorflow as tf
from helpers.checkpoints import silent
from helpers.failing_calls import Killed
from helpers.streams import DATA, VOCABULARY

import tfcharlm


def bytes_of(batch):
    return b"".join(np.asarray(part).tobytes() for part in tf.nest.flatten(batch))


@pytest.mark.parametrize("some", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("kind", DATA)
def test_a_data_set_starts_at_any_batch(kind, some, rng):
    """At its ends and at some batches between them, or at all; each place is a graph to be made."""
    data = DATA[kind](3)
    whole = list(map(bytes_of, data))
    assert len(whole) == len(data) >= 9 and len(set(whole)) > len(whole) // 2
    places = range(len(whole) + 1)
    if some:
        places = [0, *rng.choice(places[1:-1], 2, replace=False), len(whole) - 1, len(whole)]
    for place in map(int, places):
        rest = data.source.starting_at(place)
        assert len(rest) == len(whole) - place and list(map(bytes_of, rest)) == whole[place:]


class Reader(tfcharlm.CharLM):
    """Notes down what it is given to train on, and learns nothing; it dies after some batches."""

    def __init__(self, **arguments):
        super().__init__(VOCABULARY, [tfcharlm.RNNCell(2)], embedding_dim=3, **arguments)
        self.batches, self.dies_after = [], None
        self.compile()

    def make_train_function(self, force=False):
        def read(iterator):
            batch = next(iterator)
            if len(self.batches) == self.dies_after:
                raise Killed
            self.batches.append(bytes_of(batch))
            return {"loss": len(self.batches)}

        self.train_function = read

    def read(self, data, options, *callbacks, dies_after=None):
        """(the batches of a run, the losses of its history; None if it died)."""
        self.batches, self.dies_after = [], dies_after
        try:
            return self.batches, self.fit(data, verbose=0, callbacks=list(callbacks), **options).history["loss"]
        except Killed:
            return self.batches, None


@pytest.fixture(scope="module")
def reader():
    return Reader()


def numbers(size=None):
    """A data set that tells its batches apart."""
    return tf.data.Dataset.range(size) if size else tf.data.Dataset.counter()


LAYOUTS = {
    "one epoch": (numbers(7), {}),
    "three epochs": (numbers(3), {"epochs": 3}),
    "three equal parts": (numbers(9), {"epochs": 3, "steps_per_epoch": 3}),
    "parts that leave a rest": (numbers(9), {"epochs": 2, "steps_per_epoch": 4}),
    "it ends in an epoch": (numbers(5), {"epochs": 4, "steps_per_epoch": 3}),
    "epochs longer than it is": (numbers(3), {"epochs": 2, "steps_per_epoch": 5}),
    "it never ends": (numbers(), {"epochs": 3, "steps_per_epoch": 3}),
    "begun late": (numbers(3), {"initial_epoch": 2, "epochs": 5}),
}


def begins(whole, part):
    return whole[: len(part)] == part


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_continue_wherever_a_run_stops(tmp_path, reader, layout):
    """For every batch at which it may stop, the next process reads the batches that were left."""
    data, options = LAYOUTS[layout]
    whole, losses = reader.read(data, options)
    for place in range(1, len(whole)):
        directory = tmp_path / str(place)
        first, _ = reader.read(data, options, silent(directory, steps=place), dies_after=place)
        second, resumed = reader.read(data, options, silent(directory))
        assert first == whole[:place] and second == whole[place:], f"stopped after {place} of {len(whole)} batches"
        assert len(resumed) == len(losses) == len(set(losses))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_more_than_one_interval_is_read_again(tmp_path, reader, layout, rng):
    """A run of many processes, each of which dies."""
    data, options = LAYOUTS[layout]
    whole, _ = reader.read(data, options)
    interval, done, losses = int(rng.integers(2, 4)), 0, None
    for attempt in range(99):
        checkpoint = silent(tmp_path / "run", steps=interval)
        batches, losses = reader.read(data, options, checkpoint, dies_after=interval + attempt % 2)
        first = done - next(again for again in range(interval + 1) if begins(whole[done - again :], batches))
        assert attempt or first == 0
        done = first + len(batches)
        if losses is not None:
            break
    assert done == len(whole) and attempt > 1


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("epochs", [1, 2], ids=["epochs of Keras", "epochs of the data set"])
def test_a_run_over_a_text_continues_with_the_next_window(tmp_path, reader, kind, epochs, rng):
    data, options = DATA[kind](epochs), {"epochs": 3 - epochs}
    whole, _ = reader.read(data, options)
    place = int(rng.integers(1, len(whole)))
    for steps, dies_after in ((1, place), (None, None)):
        batches, _ = reader.read(data, options, silent(tmp_path / "run", steps=steps), dies_after=dies_after)
        assert batches == (whole[:place] if dies_after else whole[place:])
