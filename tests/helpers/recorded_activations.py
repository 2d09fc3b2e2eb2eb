"""Random numbers in place of what a model does."""

from tfcharlm.analysis import Activations

TEXT = 'KENT:\nI said "a < b" & went;\n\tthen $x$\n' * 4


def recorded_of(rng, text=TEXT, units=7):
    """An LSTM over an RNN, with random numbers for activations."""
    gates = {kind: rng.random((len(text), units)) for kind in "ifo"}
    states = {kind: rng.normal(size=(len(text), units)) for kind in "gch"}
    return Activations(tuple(text), (gates | states, {"h": rng.normal(size=(len(text), 3))}))
