"""The same small model generating text in several ways: Embedding(65, 64) -> LSTM -> Dense(65), temperature 1.

Each factory imports its library itself and returns `work(n)`, which generates n texts for each stream and returns the
seconds for one.
"""

import numpy as np
from alternating import timed
from candidates import make_cell

SYMBOLS, EMBEDDING = 65, 64
CHARACTERS = "\n" + "".join(map(chr, range(0x100, 0x100 + SYMBOLS - 1)))


def char_lm(units, streams, length, cell="lstm", exported=False):
    """`CharLM.generate`, or the signature of the same model, exported and loaded by TensorFlow."""
    import tempfile

    import tensorflow as tf

    import tfcharlm

    tfcharlm.configure_threads()
    model = tfcharlm.CharLM(tfcharlm.text.Vocabulary(CHARACTERS), [make_cell(cell, units)], EMBEDDING)
    prompts = [CHARACTERS[1]] * streams
    if not exported:
        return timed(lambda: model.generate(prompts, max_length=length, seed=0))
    signature = tf.saved_model.load(str(model.export(tempfile.mkdtemp() + "/model/1"))).signatures["generate"]
    arguments = {
        "prompts": tf.constant(prompts), "max_length": tf.constant(length), "temperature": tf.constant(1.0),
        "top_k": tf.constant(0), "top_p": tf.constant(1.0), "seed": tf.range(streams, dtype=tf.int64),
    }  # fmt: skip
    return timed(lambda: signature(**arguments)["text"].numpy())


def new_lengths(units, streams, length):
    """`CharLM.generate` after a first call, with a prompt that is one character longer for every text."""
    import tfcharlm

    tfcharlm.configure_threads()
    model = tfcharlm.CharLM(tfcharlm.text.Vocabulary(CHARACTERS), [tfcharlm.LSTMCell(units)], EMBEDDING)
    prompt = []

    def write():
        prompt.append(CHARACTERS[1])
        model.generate(["".join(prompt)] * streams, max_length=length, seed=0)

    return timed(write)


def one_step(units, streams, length, cell=None):
    """A compiled step from characters to characters in a Python loop, after TensorFlow's text generation tutorial.

    The recurrent layer is `keras.layers.LSTM`, or `keras.layers.RNN` around a cell of tfcharlm.
    """
    import keras
    import tensorflow as tf

    ids_of = keras.layers.StringLookup(vocabulary=list(CHARACTERS), mask_token=None)
    character_of = keras.layers.StringLookup(vocabulary=ids_of.get_vocabulary(), invert=True, mask_token=None)
    embedding, head = keras.layers.Embedding(SYMBOLS + 1, EMBEDDING), keras.layers.Dense(SYMBOLS + 1)
    outputs = {"return_sequences": True, "return_state": True}
    recurrent = keras.layers.RNN(make_cell(cell, units), **outputs) if cell else keras.layers.LSTM(units, **outputs)
    # The id that the lookup has for unknown characters must never be drawn.
    never = tf.constant([[-np.inf] + [0.0] * SYMBOLS])

    @tf.function
    def step(characters, states):
        ids = ids_of(tf.strings.unicode_split(characters, "UTF-8")).to_tensor()
        outputs, *states = recurrent(embedding(ids), initial_state=states)
        logits = head(outputs)[:, -1] / 1.0 + never
        return character_of(tf.random.categorical(logits, num_samples=1)[:, 0]), states

    def write():
        characters, states = tf.constant([CHARACTERS[1]] * streams), recurrent.get_initial_state(streams)
        texts = [characters]
        for _ in range(length):
            characters, states = step(characters, states)
            texts.append(characters)
        return tf.strings.join(texts).numpy()

    return timed(write)


def predict(units, streams, length):
    """`keras.Model.predict` on the whole text so far, for every character."""
    import keras

    inputs = keras.Input((None,), dtype="int32")
    outputs = keras.layers.LSTM(units)(keras.layers.Embedding(SYMBOLS, EMBEDDING)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(SYMBOLS, activation="softmax")(outputs))
    rng = np.random.default_rng(0)

    def write():
        ids = np.ones((streams, 1), np.int32)
        for _ in range(length):
            p = model.predict(ids, verbose=0).astype(np.float64)
            drawn = [rng.choice(SYMBOLS, p=row / row.sum()) for row in p]
            ids = np.concatenate([ids, np.array(drawn, np.int32)[:, None]], axis=1)
        return ids

    return timed(write)


def torch_loop(units, streams, length, layer="LSTMCell", threads=None):
    """PyTorch's nn.LSTMCell or nn.LSTM, one step at a time, without gradients, with all cores or `threads` threads."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    embedding, head = torch.nn.Embedding(SYMBOLS, EMBEDDING), torch.nn.Linear(units, SYMBOLS)
    recurrent = getattr(torch.nn, layer)(EMBEDDING, units)

    @torch.inference_mode()
    def write():
        ids, states, texts = torch.ones(streams, dtype=torch.long), None, []
        for _ in range(length):
            x = embedding(ids)
            if layer == "LSTMCell":
                states = recurrent(x, states)
                h = states[0]
            else:
                h, states = recurrent(x[None], states)
                h = h[0]
            ids = torch.multinomial(torch.softmax(head(h), dim=-1), 1)[:, 0]
            texts.append(ids)
        return torch.stack(texts, dim=1).tolist()

    return timed(write)
