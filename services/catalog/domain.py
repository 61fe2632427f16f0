"""Products: what they are, what they may be, and which ones a new exchange begins with."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PRICE = 10**12
"""Minor units; totals of whole orders stay within 63 bits."""

RESERVED_IDS = frozenset({"recent"})
"""Words that are paths of their own beside the ids."""


@dataclass(frozen=True, slots=True)
class Product:
    """`price` is in minor units. `created` is milliseconds since the epoch."""

    id: str
    name: str
    description: str
    price: int
    created: int


def like_pattern(words: str) -> str:
    """A SQL LIKE pattern, with `\\` as its escape, that finds `words` as they stand anywhere in a text."""
    for special in ("\\", "%", "_"):
        words = words.replace(special, "\\" + special)
    return f"%{words}%"


_SEEDS = (
    ("paper-wallet", "Paper wallet", "A printed key pair in a tamper-evident sleeve", 900),
    ("cold-wallet", "Cold wallet", "A signing device that never goes online", 12_900),
    ("seed-plate", "Seed plate", "Twenty-four words, stamped in steel", 4_900),
    ("signing-card", "Signing card", "A smart card for small transfers", 2_500),
    ("validator-kit", "Validator kit", "A small computer that stays awake", 54_900),
    ("genesis-print", "Genesis print", "The first block, framed", 3_200),
)


def seed_products(now: int) -> list[Product]:
    """The first products, the last of them the newest; `now` in milliseconds since the epoch."""
    first = now - len(_SEEDS)
    return [Product(*row, created=first + place) for place, row in enumerate(_SEEDS)]
