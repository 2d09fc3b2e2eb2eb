"""Messages that anybody may have written: how many parts one has is known before any part is made.

Two bytes can describe an object of a hundred bytes. So all bytes are walked through first.

Reference: Protocol Buffers, "Encoding".
"""

from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
TEXT = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)

MessageType = TypeVar("MessageType", bound=Message)


def parse_message(kind: type[MessageType], content: bytes, max_fields: int) -> MessageType:
    """Parses a message that has a bounded number of fields.

    Args:
        kind: the class of the message.
        content: its bytes.
        max_fields: how many fields it may have in all, with those of messages inside it.

    Returns:
        The message.

    Raises:
        ValueError: it is damaged, or has more fields.
    """
    try:
        _check_size(content, kind.DESCRIPTOR, max_fields)
        return kind.FromString(content)
    except (DecodeError, IndexError) as error:
        raise ValueError(f"it is not a {kind.DESCRIPTOR.name}: {error}") from error


def is_canonical(message: Message, content: bytes) -> bool:
    """Whether `content` is what TensorFlow writes for a message: its fields in order, and no others."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()
    return bool(copy.SerializeToString(deterministic=True) == content)


def _check_size(content: bytes, descriptor: Descriptor, most: int) -> None:
    fields_of: dict[Descriptor, dict[int, FieldDescriptor]] = {}
    # The messages that are open, and where they end.
    stack, position, count = [(descriptor, len(content))], 0, 0
    while stack:
        kind, end = stack[-1]
        if position >= end:
            stack.pop()
            continue
        tag, position = _varint(content, position)
        count += 1
        if count > most:
            raise ValueError(f"it has more than {most:,} fields")
        if kind not in fields_of:
            fields_of[kind] = {field.number: field for field in kind.fields}
        field, wire_type = fields_of[kind].get(tag >> 3), tag & 7
        if wire_type == VARINT:
            _, position = _varint(content, position)
        elif wire_type in FIXED_SIZES:
            position += FIXED_SIZES[wire_type]
        elif wire_type == LENGTH:
            length, position = _varint(content, position)
            if field is not None and field.message_type:
                stack.append((field.message_type, position + length))
                continue
            if field is not None and field.type not in TEXT:
                count += length  # many numbers in one field: each may take one byte here and eight in memory
            position += length
        else:
            raise ValueError("it has a group, which TensorFlow does not write")


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("it has a number of more than 64 bits")
