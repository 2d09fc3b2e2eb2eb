"""Tables as TensorFlow writes them: sorted pairs of bytes in one block, in the format of LevelDB without compression.

A table that was read is written again and compared. So it has only one form, whoever wrote it.

Reference: LevelDB, doc/table_format.md; TensorFlow, core/lib/io/table_builder.cc.
"""

from collections.abc import Iterator, Mapping, Sequence

from tfcharlm.artefact.checksums import masked_crc32c

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER, TRAILER = 48, 5
# TensorFlow begins a second block after 256 KiB. The variables of 32 layers need a tenth of that.
MAX_TABLE, MAX_PAIRS, MAX_KEY = 2**18, 1_000, 200
RESTART_INTERVAL = 16
DAMAGED = "the table of its variables is damaged"


def read_table(table: bytes) -> dict[bytes, bytes]:
    """The pairs in a table.

    Raises:
        ValueError: the table is not exactly what TensorFlow writes for its pairs.
    """
    try:
        pairs = dict(_pairs(table))
    except IndexError as error:
        raise ValueError(DAMAGED) from error
    if write_table(pairs) != table:
        raise ValueError(f"{DAMAGED}: TensorFlow writes it in another form")
    return pairs


def write_table(pairs: Mapping[bytes, bytes]) -> bytes:
    """The table that TensorFlow writes for pairs that fit into one block."""
    ordered = sorted(pairs.items())
    data = _with_trailer(_block(ordered, RESTART_INTERVAL))
    properties = _with_trailer(_block([], RESTART_INTERVAL))
    # The index has one entry: a short key that is not below the last one, and where the block is.
    key = _short_successor(ordered[-1][0]) if ordered else b""
    index = _with_trailer(_block([(key, _handle(0, data))], 1))
    footer = _handle(len(data), properties) + _handle(len(data) + len(properties), index)
    return data + properties + index + footer.ljust(FOOTER - len(MAGIC), b"\0") + MAGIC


def _pairs(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of the first block. The rest of the table says only where it ends; `write_table` writes that, too."""
    if len(table) < FOOTER or not table.endswith(MAGIC):
        raise ValueError(DAMAGED)
    # The first handle in the footer is that of the block after the data.
    end, _ = _read_varint(table, len(table) - FOOTER)
    end -= TRAILER
    if not 4 <= end <= len(table) - FOOTER:
        raise ValueError(DAMAGED)
    restarts = int.from_bytes(table[end - 4 : end], "little")
    end -= 4 + 4 * restarts
    key, position = b"", 0
    for _ in range(MAX_PAIRS):
        if position >= end:
            return
        shared, position = _read_varint(table, position)
        unshared, position = _read_varint(table, position)
        length, position = _read_varint(table, position)
        if shared > len(key) or shared + unshared > MAX_KEY or position + unshared + length > end:
            raise ValueError(DAMAGED)
        key = key[:shared] + table[position : position + unshared]
        position += unshared + length
        yield key, table[position - length : position]
    raise ValueError(f"its variables have more than {MAX_PAIRS:,} names")


def _block(pairs: Sequence[tuple[bytes, bytes]], restart_interval: int) -> bytes:
    """Pairs, each key without the prefix that it shares with the one before, and where whole keys are."""
    content, restarts, before = bytearray(), [0], b""
    for i, (key, value) in enumerate(pairs):
        shared = 0
        if i % restart_interval:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        elif i:
            restarts.append(len(content))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return bytes(content) + b"".join(number.to_bytes(4, "little") for number in [*restarts, len(restarts)])


def _with_trailer(block: bytes) -> bytes:
    """A block, the type of its compression (none), and the checksum of both."""
    block += b"\0"
    return block + masked_crc32c(block).to_bytes(4, "little")


def _short_successor(key: bytes) -> bytes:
    for i, byte in enumerate(key):
        if byte != 0xFF:
            return key[:i] + bytes([byte + 1])
    return key


def _handle(offset: int, block: bytes) -> bytes:
    return varint(offset) + varint(len(block) - TRAILER)


def varint(number: int) -> bytes:
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(DAMAGED)
