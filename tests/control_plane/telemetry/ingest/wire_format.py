"""Protobuf's wire format written by hand, for messages that protobuf would not write."""

from __future__ import annotations

LENGTH_DELIMITED = 2


def varint(number: int) -> bytes:
    """A base 128 varint."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | LENGTH_DELIMITED]) + varint(len(content)) + content


def repeated(number: int, content: bytes, size: int) -> bytes:
    """The same field over and over, up to `size` bytes."""
    encoded = field(number, content)
    return encoded * (size // len(encoded))
