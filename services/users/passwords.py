"""Password hashes by Argon2id, in threads: a hash takes some 50 ms of CPU by design.

The parameters are those of the OWASP Password Storage Cheat Sheet: 19 MiB, two iterations, one lane.
"""

from __future__ import annotations

import asyncio
import os

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

MEMORY_KIB, ITERATIONS, LANES, SALT_BYTES, HASH_BYTES = 19_456, 2, 1, 16, 32

AT_ONCE = 4
"""Hashes that are computed at the same time: a bound of memory and CPU for whoever floods the login."""

_slots = asyncio.Semaphore(AT_ONCE)


def _hash(password: str) -> str:
    parameters = Argon2id(
        salt=os.urandom(SALT_BYTES), length=HASH_BYTES, iterations=ITERATIONS, lanes=LANES,
        memory_cost=MEMORY_KIB,
    )  # fmt: skip
    return parameters.derive_phc_encoded(password.encode())


def _verify(password: str, encoded: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), encoded)
    except InvalidKey:
        return False
    return True


_NOBODY = _hash("no password of anybody")


async def hash_password(password: str) -> str:
    """The hash of a new password, in PHC form."""
    async with _slots:
        return await asyncio.to_thread(_hash, password)


async def verify_password(password: str, encoded: str | None) -> bool:
    """Whether the password is right. Without a hash it takes as long: nobody learns which addresses exist."""
    async with _slots:
        return await asyncio.to_thread(_verify, password, encoded or _NOBODY) and encoded is not None
