"""Calls the native passes without TensorFlow, so that sanitizers watch nothing else.

Memory that nobody has written holds NaN, here and in a library compiled with -DTFCHARLM_POISON. A result that depends
on it is not finite.

LD_PRELOAD=libasan.so python native_core.py core.so avx2_variant 300
"""

import ctypes
import sys

import numpy as np

POINTER, STATES = ctypes.c_void_p, 2


class Sequence(ctypes.Structure):
    _fields_ = [
        ("cell", ctypes.c_int),
        *((name, ctypes.c_int64) for name in ("batch", "steps", "width", "units")),
        *((name, POINTER) for name in ("kernel", "recurrent_kernel", "bias", "inputs", "ids", "is_real")),
        ("initial_states", POINTER * STATES),
    ]


class Results(ctypes.Structure):
    _fields_ = [("outputs", POINTER), ("final_states", POINTER * STATES), ("saved", POINTER)]


class Gradients(ctypes.Structure):
    _fields_ = [
        ("outputs", POINTER),
        ("final_states", POINTER * STATES),
        *((name, POINTER) for name in ("kernel", "recurrent_kernel", "bias", "inputs")),
        ("initial_states", POINTER * STATES),
    ]


class Variant(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("lanes", ctypes.c_int),
        ("saved_size", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.POINTER(Sequence))),
        ("forward", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Sequence), ctypes.POINTER(Results))),
        (
            "backward",
            ctypes.CFUNCTYPE(
                ctypes.c_int, ctypes.POINTER(Sequence), ctypes.POINTER(Results), ctypes.POINTER(Gradients)
            ),
        ),
    ]


class Arrays:
    """Arrays that live as long as this, and pointers to them."""

    def __init__(self, rng):
        self._rng, self._kept, self.results = rng, [], []

    def of(self, array):
        # An array of its own size from malloc, with a sanitizer's guards around it.
        self._kept.append((ctypes.c_char * max(1, array.nbytes)).from_buffer_copy(array.tobytes() or b"\0"))
        return ctypes.addressof(self._kept[-1])

    def unwritten(self, *shape):
        self.results.append((self.of(np.full(shape, np.nan, np.float32)), shape))
        return self.results[-1][0]

    def unwritten_states(self, count, *shape):
        return (POINTER * STATES)(*(self.unwritten(*shape) for _ in range(count)))

    def random(self, *shape):
        return self.of(self._rng.normal(size=shape).astype(np.float32))

    def check(self):
        """Raises if a result is not finite."""
        for address, shape in self.results:
            count = int(np.prod(shape))
            found = np.frombuffer((ctypes.c_float * count).from_address(address), np.float32) if count else np.zeros(0)
            assert np.isfinite(found).all(), f"shape {shape}: not written, or made of what was not written"

    def states(self, count, *shape):
        return (POINTER * STATES)(*(self.random(*shape) for _ in range(count)))


def both_passes(variant, rng):
    """One random case; every argument that may be absent is, now and then."""
    cell, use_ids = int(rng.integers(4)), bool(rng.integers(2))
    blocks, blocks_of_bias, states = [(1, 1, 1), (4, 4, 2), (4, 4, 2), (3, 4, 1)][cell]
    batch, steps = int(rng.choice([0, 1, 3, 13, 40, 97, 300])), int(rng.integers(0, 14))
    width = int(rng.choice([rng.integers(1, 40), 300]))
    units = int(rng.choice([1, 5, 15, 16, 17, 31, 33, 64, 130]))
    arrays, columns = Arrays(rng), blocks * units
    absent = [bool(rng.integers(2)) for _ in range(3)]
    sequence = Sequence(
        cell, batch, steps, width, units, arrays.random(width, columns), arrays.random(units, columns),
        None if absent[0] else arrays.random(blocks_of_bias * units),
        None if use_ids else arrays.random(batch, steps, width),
        arrays.of(rng.integers(0, width, size=(batch, steps)).astype(np.int32)) if use_ids else None,
        None if absent[1] else arrays.of(rng.random((batch, steps)) < 0.6),
        arrays.states(states, batch, units),
    )  # fmt: skip
    saved_size = variant.saved_size(ctypes.byref(sequence))
    results = Results(
        arrays.unwritten(batch, steps, units),
        arrays.unwritten_states(states, batch, units),
        arrays.of(np.full(saved_size, np.nan, np.float32)),
    )
    gradients = Gradients(
        arrays.random(batch, steps, units), arrays.states(states, batch, units),
        arrays.unwritten(width, columns), arrays.unwritten(units, columns),
        None if absent[0] else arrays.unwritten(blocks_of_bias * units),
        None if use_ids or absent[2] else arrays.unwritten(batch, steps, width),
        arrays.unwritten_states(states, batch, units),
    )  # fmt: skip
    assert variant.forward(ctypes.byref(sequence), ctypes.byref(results)) == 0
    assert variant.backward(ctypes.byref(sequence), ctypes.byref(results), ctypes.byref(gradients)) == 0
    arrays.check()
    only_outputs = Results(arrays.unwritten(batch, steps, units), arrays.unwritten_states(states, batch, units), None)
    assert variant.forward(ctypes.byref(sequence), ctypes.byref(only_outputs)) == 0
    arrays.check()


def main():
    library, name, count = sys.argv[1:]
    variant, rng = Variant.in_dll(ctypes.CDLL(library), name), np.random.default_rng(int(count))
    for _ in range(int(count)):
        both_passes(variant, rng)
    print("done")


if __name__ == "__main__":
    main()
