"""The same small model in several libraries: Embedding(65, 64) -> one recurrent layer -> Dense(65), Adam.

Each factory imports its library itself and returns `work(n)`, which does n training steps, or reads a text n times
without training.
"""

import importlib.util
import time
from pathlib import Path

import numpy as np
from alternating import timed

SYMBOLS, EMBEDDING = 65, 64


def make_cell(name, units):
    """A cell of tfcharlm, "lstm", "gru" or "rnn", or one of `examples/cells` by the name of its file."""
    import tfcharlm

    known = {"lstm": tfcharlm.LSTMCell, "gru": tfcharlm.GRUCell, "rnn": tfcharlm.RNNCell}
    if name in known:
        return known[name](units)
    path = Path(__file__).parents[1] / "examples" / "cells" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kind = next(v for v in vars(module).values() if isinstance(v, type) and issubclass(v, tfcharlm.RecurrentCell))
    # The projection halves the output, as in the paper.
    return kind(units, **({"output_dim": units // 2} if name == "projected_lstm" else {}))


def keras_step(units, batch, length, cell="lstm", dtype="float32", layer="keras", training=True, **options):
    """Keras's layer, or in its position `tfcharlm.RNN` (layer="tfcharlm") or TensorFlow's BlockLSTMV2 ("block").

    With layer="loop" it is `keras.layers.RNN` around the cell of tfcharlm, with the threads that tfcharlm sets, or with
    those of TensorFlow if `threads` is False.

    Options: `jit` compiles the step with XLA; `unroll` is the argument of Keras's layers.
    """
    import keras
    import tensorflow as tf

    if layer in ("tfcharlm", "loop"):
        import tfcharlm

        if options.get("threads", True):
            tfcharlm.configure_threads()
    keras.config.set_dtype_policy(dtype)
    if layer == "tfcharlm":
        recurrent = tfcharlm.RNN(make_cell(cell, units), return_sequences=True)
    elif layer == "loop":
        recurrent = keras.layers.RNN(make_cell(cell, units), return_sequences=True)
    elif layer == "block":
        recurrent = _block_lstm(units)
    else:
        recurrent = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[cell](
            units, return_sequences=True, unroll=options.get("unroll", False)
        )
    model = keras.Sequential(
        [
            keras.Input((length,), batch_size=batch, dtype="int32"),
            keras.layers.Embedding(SYMBOLS, EMBEDDING),
            recurrent,
            keras.layers.Dense(SYMBOLS, dtype="float32"),
        ]
    )
    tokens, targets = (tf.constant(a) for a in _batch(batch, length))
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)

    def train():
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, model(tokens, training=True))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    def read():
        return tf.reduce_sum(model(tokens, training=False)[:, -1])

    step = tf.function(train if training else read, jit_compile=options.get("jit", False))
    return timed(lambda: step().numpy())


def char_lm_step(units, batch, length, cell="lstm", dtype="float32", training=True, fit=False, threads=True):
    """The training step of `CharLM`, alone or in `fit`, including metrics and carried state."""
    import keras
    import tensorflow as tf

    import tfcharlm

    if threads:
        tfcharlm.configure_threads()
    keras.config.set_dtype_policy(dtype)
    vocabulary = tfcharlm.text.Vocabulary("".join(map(chr, range(0x100, 0x100 + SYMBOLS))))
    model = tfcharlm.CharLM(vocabulary, [make_cell(cell, units)], EMBEDDING)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.optimizer.build(model.trainable_variables)
    tokens, targets = (tf.constant(a) for a in _batch(batch, length))
    start = tf.zeros([batch], tf.bool)
    data = {"tokens": tokens, "start": start}, targets
    if fit:
        return _fit_seconds(model, tf.data.Dataset.from_tensors(data).repeat())

    if training:
        step = tf.function(lambda: model.train_step(data), autograph=False)
        return timed(lambda: step()["loss"].numpy())

    read = tf.function(lambda: tf.reduce_sum(model.step(tokens, model.initial_state(batch))[0][:, -1]), autograph=False)
    return timed(lambda: read().numpy())


def torch_step(units, batch, length, cell="lstm", dtype="float32", training=True, threads=None):
    """PyTorch's nn.LSTM, nn.GRU or nn.RNN, with as many threads as PyTorch chooses (None) or so many."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    embedding, head = torch.nn.Embedding(SYMBOLS, EMBEDDING), torch.nn.Linear(units, SYMBOLS)
    recurrent = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell](
        EMBEDDING, units, batch_first=True
    )
    parameters = [*embedding.parameters(), *recurrent.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3)
    tokens, targets = (torch.tensor(a).long() for a in _batch(batch, length))

    def logits():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            return head(recurrent(embedding(tokens))[0]).float()

    def train():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits().reshape(-1, SYMBOLS), targets.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss.item()

    def read():
        with torch.no_grad():
            return logits()[:, -1].sum().item()

    return timed(train if training else read)


def product_peak(size=2048):
    """The machine's peak speed as far as TensorFlow reaches it: seconds per float32 operation of a large product."""
    import tensorflow as tf

    a, b = tf.random.normal((size, size)), tf.random.normal((size, size))
    multiply = tf.function(lambda: tf.matmul(a, b)[0, 0] + tf.matmul(b, a)[0, 0], autograph=False)
    work = timed(lambda: multiply().numpy())
    return lambda n: work(n) / (4 * size**3)


def _block_lstm(units):
    import keras
    import tensorflow as tf

    class BlockLSTM(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1] + units, 4 * units), name="kernel")
            self.bias = self.add_weight(shape=(4 * units,), initializer="zeros", name="bias")

        def call(self, inputs):
            batch, length, _ = inputs.shape
            zeros, peephole = tf.zeros((batch, units)), tf.zeros((units,))
            kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
            outputs = tf.raw_ops.BlockLSTMV2(
                seq_len_max=tf.constant(length, tf.int64),
                x=tf.transpose(inputs, [1, 0, 2]),
                cs_prev=zeros,
                h_prev=zeros,
                w=kernel,
                wci=peephole,
                wcf=peephole,
                wco=peephole,
                b=bias,
                cell_clip=0.0,
                use_peephole=False,
            )
            return tf.transpose(outputs.h, [1, 0, 2])

    return BlockLSTM()


def _fit_seconds(model, data):
    import keras

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())

    clock = Clock()

    def work(n):
        # Counted from the end of the first step, because the overhead of an epoch is not the cost of a step.
        model.fit(data, steps_per_epoch=n + 1, verbose=0, callbacks=[clock])
        return (clock.ends[-1] - clock.ends[0]) / n

    return work


def _batch(batch, length):
    rng = np.random.default_rng(0)
    return [rng.integers(0, SYMBOLS, (batch, length)).astype(np.int32) for _ in range(2)]
