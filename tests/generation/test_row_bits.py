"""A row has the same bits whatever the other rows are, so the text of a prompt and a seed is the same in any batch."""

import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm.generation import Sampling
from tfcharlm.text import Vocabulary

CELLS = {
    "rnn": lambda: ([tfcharlm.RNNCell(37)], 11),
    "lstm": lambda: ([tfcharlm.LSTMCell(64)], 93),
    "wide lstm": lambda: ([tfcharlm.LSTMCell(300)], 65),
    "two layers": lambda: ([tfcharlm.GRUCell(130), tfcharlm.LSTMCell(5)], 300),
}


@pytest.mark.parametrize(
    "kind", [kind if kind == "lstm" else pytest.param(kind, marks=pytest.mark.slow) for kind in CELLS]
)
def test_a_row_has_the_same_bits_in_any_batch(rng, kind):
    """Logits and states after prompts of unequal lengths, and after tokens that were drawn."""
    cells, size = CELLS[kind]()
    vocabulary = Vocabulary([chr(200 + i) for i in range(size - 1)] + ["\n"])
    model = tfcharlm.CharLM(vocabulary, cells, embedding_dim=17)
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    graph = model.text_graph()
    prompts = ["".join(rng.choice(vocabulary.tokens[: size - 1], rng.integers(1, 9))) for _ in range(70)]
    seeds = rng.integers(-(2**62), 2**62, 70)

    def read_and_write(rows):
        logits, *states = graph.prefill(tf.constant([prompts[row] for row in rows]))
        start = tf.constant(seeds[rows]), tf.constant(0), tf.constant(40)
        ids, *results = graph.decode(*start, Sampling(0.7).tensors(), logits, *states)
        return [np.asarray(part) for part in (ids[:, :40], *results)]

    everything = read_and_write(np.arange(70))
    for size_of_batch in (1, 2, 8, 9, 31, 33):
        rows = rng.choice(70, size_of_batch, replace=False)
        for part, whole in zip(read_and_write(rows), everything, strict=True):
            np.testing.assert_array_equal(part, whole[rows], err_msg=f"{size_of_batch} rows")
