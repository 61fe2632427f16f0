"""Products and their categories, their limits, and those of a new shop. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PRICE = 10**12
"""Minor units. The total of an order stays within 63 bits."""

RESERVED_IDS = frozenset({"recent"})
"""Path segments with a meaning of their own beside the ids."""


@dataclass(frozen=True, slots=True)
class Product:
    """`price` is in minor units, `created` in milliseconds since the epoch. `category` is an id."""

    id: str
    name: str
    description: str
    price: int
    category: str | None
    created: int


@dataclass(frozen=True, slots=True)
class Category:
    """A group of products."""

    id: str
    name: str


def like_pattern(text: str) -> str:
    """A SQL LIKE pattern (escape character `\\`) that matches values containing `text` literally."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"


_SEEDS = (
    ("paper-wallet", "Paper wallet", "A printed key pair in a tamper-evident sleeve", 900, "wallets"),
    ("cold-wallet", "Cold wallet", "A signing device that never goes online", 12_900, "wallets"),
    ("seed-plate", "Seed plate", "Twenty-four words, stamped in steel", 4_900, "backups"),
    ("signing-card", "Signing card", "A smart card for small transfers", 2_500, "wallets"),
    ("validator-kit", "Validator kit", "A small computer that stays awake", 54_900, "nodes"),
    ("genesis-print", "Genesis print", "The first block, framed", 3_200, "prints"),
)

SEED_CATEGORIES = (
    Category("backups", "Backups"),
    Category("nodes", "Nodes"),
    Category("prints", "Prints"),
    Category("wallets", "Wallets"),
)
"""The categories of a new shop."""


def seed_products(now: int) -> list[Product]:
    """The products of a new shop, oldest first; `now` in milliseconds since the epoch."""
    first = now - len(_SEEDS)
    return [Product(*row, created=first + position) for position, row in enumerate(_SEEDS)]
