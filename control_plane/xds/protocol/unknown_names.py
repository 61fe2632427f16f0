"""Host names that a client asked for before they existed.

Envoy asks for a host once. After the reply that it does not exist, Envoy neither asks again nor drops the
name, so the server must push the host when it appears, whatever else was asked for in between. Names come
from Host headers, so their number has no limit, but what is remembered of them must have one: a set up to
`limit` names, then a Bloom filter. The filter forgets no name. At worst it takes a new host for one that was
asked for, and the client gets a host that it does not use yet.
"""

from __future__ import annotations

EXACT_NAMES = 2000
"""Names that one stream stores exactly: more than most meshes have."""

FILTER_BITS = 1 << 20
"""Size of the filter: 128 KiB. With 100,000 names it takes 1 % of other names for known ones."""

HASHES = 4
"""Bits set for each name."""


class UnknownNames:
    """The names. `limit` is how many are stored exactly."""

    def __init__(self, limit: int = EXACT_NAMES) -> None:
        self._limit = limit
        self._names: set[str] = set()
        self._filter = bytearray()

    def add(self, name: str) -> None:
        """Remember a name."""
        if self._filter:
            self._mark(name)
        elif len(self._names) < self._limit:
            self._names.add(name)
        else:
            self._filter = bytearray(FILTER_BITS // 8)
            for added in (*self._names, name):
                self._mark(added)
            self._names.clear()

    def __contains__(self, name: str) -> bool:
        """Whether the name was added; sometimes also true for another name."""
        if not self._filter:
            return name in self._names
        return all(self._filter[bit >> 3] & (1 << (bit & 7)) for bit in _bits(name))

    def _mark(self, name: str) -> None:
        for bit in _bits(name):
            self._filter[bit >> 3] |= 1 << (bit & 7)


def _bits(name: str) -> tuple[int, ...]:
    """Positions from the two halves of one hash (Kirsch and Mitzenmacher, "Less hashing", 2006)."""
    both = hash(name)
    first, step = both & 0xFFFFFFFF, (both >> 32) | 1
    return tuple([(first + number * step) % FILTER_BITS for number in range(HASHES)])
