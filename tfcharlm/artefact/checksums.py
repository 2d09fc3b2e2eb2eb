"""The checksums in TensorFlow's files: CRC-32C, masked, of bytes and of strings."""

from collections.abc import Iterable

import google_crc32c


def masked_crc32c(content: bytes) -> int:
    """The checksum of bytes, as TensorFlow writes it beside them."""
    return mask(google_crc32c.value(content))


def chunks_crc32c(chunks: Iterable[bytes]) -> int:
    """The masked checksum of bytes that come in pieces."""
    crc = 0
    for chunk in chunks:
        crc = google_crc32c.extend(crc, chunk)
    return mask(crc)


def mask(crc: int) -> int:
    """A checksum of data that has checksums in it would be weak, so they are stored in another form.

    Reference: LevelDB, util/crc32c.h.
    """
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
