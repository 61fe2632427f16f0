"""The file of a backup: a line that says what it is, and the content, encrypted unless that is switched off.

AES-256-GCM with a key by scrypt (RFC 7914), whose cost of 64 MiB and a fifth of a second makes guessing dear.
The line is authenticated too. Pure.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from meshwright.control_plane.errors import InputError

MAGIC = "meshwright backup"
VERSION = 1
SCRYPT = {"n": 2**16, "r": 8, "p": 1}
SALT_BYTES, NONCE_BYTES = 16, 12
MAX_CONTENT = 1 << 30
"""Bytes of a content: sixteen times the documents that a mesh may have."""


def seal(content: dict[str, Any], passphrase: bytes, random: bytes) -> bytes:
    """The file for a content, not encrypted if `passphrase` is empty. `random`: SALT_BYTES + NONCE_BYTES."""
    body = zlib.compress(json.dumps(content, separators=(",", ":")).encode())
    head: dict[str, Any] = {"format": MAGIC, "version": VERSION, "encrypted": bool(passphrase)}
    if not passphrase:
        return _line(head) + body
    salt, nonce = random[:SALT_BYTES], random[SALT_BYTES:]
    head |= {"salt": b64encode(salt).decode(), "nonce": b64encode(nonce).decode()}
    return _line(head) + AESGCM(_key(passphrase, salt)).encrypt(nonce, body, _line(head))


def is_encrypted(data: bytes) -> bool:
    """Whether a file needs a passphrase; raises InputError if it is not a backup."""
    return bool(_head(data)[0]["encrypted"])


def unseal(data: bytes, passphrase: bytes) -> dict[str, Any]:
    """The content of a file; raises InputError for a wrong passphrase and for a damaged file."""
    head, line = _head(data)
    body = data[len(line) :]
    if head["encrypted"]:
        try:
            salt, nonce = b64decode(head["salt"]), b64decode(head["nonce"])
            body = AESGCM(_key(passphrase, salt)).decrypt(nonce, body, line)
        except (InvalidTag, KeyError, TypeError, ValueError):
            raise InputError("the passphrase is wrong, or the file is damaged") from None
    try:
        decompression = zlib.decompressobj()
        unpacked = decompression.decompress(body, MAX_CONTENT)
        if not decompression.eof:
            raise ValueError
        content: dict[str, Any] = json.loads(unpacked)
    except (zlib.error, ValueError, RecursionError):
        raise InputError("the file is damaged: it was not copied completely") from None
    return content


def _head(data: bytes) -> tuple[dict[str, Any], bytes]:
    line = data.partition(b"\n")[0] + b"\n"
    try:
        head = json.loads(line)
        is_backup = head["format"] == MAGIC and isinstance(head["encrypted"], bool) and "version" in head
    except (ValueError, KeyError, TypeError, RecursionError):
        is_backup = False
    if not is_backup:
        raise InputError("not a backup of `mesh backup`")
    if head["version"] != VERSION:
        raise InputError(
            f"a backup of version {head['version']}, not {VERSION}: restore it with its own release"
        )
    return head, line


def _key(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **SCRYPT).derive(passphrase)


def _line(head: dict[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True).encode() + b"\n"
