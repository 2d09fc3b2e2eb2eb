"""What compressors that learn while they read need for a text, after another one: bits per character.

They are in the extra bench.
"""

# PPMd's usual settings for text. zpaq's best level, without its guess of the kind of data: that depends on the size.
ORDER, MEMORY = 6, 256 << 20
LEVEL = 5


def ppmd_bits(first, second):
    """PPMd, variant H: the bits that a text adds to the text before it, per character."""
    import pyppmd

    return _added(lambda data: pyppmd.compress(data, max_order=ORDER, mem_size=MEMORY), first, second)


def zpaq_bits(first, second):
    """zpaq, which mixes the predictions of many models: the bits that a text adds to the text before it."""
    import zpaq

    return _added(lambda data: zpaq.compress(data, level=LEVEL, threads=1, hints=False), first, second)


def _added(compress, first, second):
    return 8 * (len(compress((first + second).encode())) - len(compress(first.encode()))) / len(second)
