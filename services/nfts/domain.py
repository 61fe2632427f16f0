"""NFTs: who has minted one, who owns it, and what it is worth. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

MAX_QUANTITY = 1_000_000
"""Units of an asset behind one NFT."""

_NAMESPACE = uuid.UUID("9e0c3c0e-3f0a-4f39-8d8f-0f0b1c6f5f7d")


class NotOwnerError(Exception):
    """Somebody transfers an NFT that is not theirs."""


@dataclass(frozen=True, slots=True)
class Nft:
    """A unique token. `owners` are all that it has had, the creator first; `created` is in ms.

    It stands for `quantity` units of the asset `symbol`. Without a symbol it has no price.
    """

    id: str
    name: str
    metadata: Mapping[str, str]
    owners: tuple[str, ...]
    symbol: str
    quantity: int
    created: int

    @property
    def creator(self) -> str:
        """Who has minted it."""
        return self.owners[0]

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.owners[-1]


@dataclass(frozen=True, slots=True)
class Holding:
    """What a person owns of one asset, or, without a symbol, of NFTs that have no price."""

    symbol: str
    nfts: int
    quantity: int


@dataclass(frozen=True, slots=True)
class ValuedHolding:
    """A holding and its worth in minor units; None without a quote."""

    holding: Holding
    worth: int | None


def nft_id(user_id: str, key: str) -> str:
    """The id of the NFT that a user mints with this Idempotency-Key."""
    return str(uuid.uuid5(_NAMESPACE, f"{user_id}\n{key}"))


def transfer(nft: Nft, sender: str, recipient: str) -> Nft:
    """The NFT once `recipient` owns it. A transfer that is repeated changes nothing. Raises NotOwnerError."""
    if nft.owners[-2:] == (sender, recipient):
        return nft
    if nft.owner != sender:
        raise NotOwnerError(nft.id)
    return nft if sender == recipient else replace(nft, owners=(*nft.owners, recipient))


def portfolio(holdings: Sequence[Holding], quotes: Mapping[str, int]) -> tuple[list[ValuedHolding], int]:
    """The holdings that have a symbol with their worth by `quotes` in minor units, and the sum."""
    valued = [
        ValuedHolding(
            holding, quotes[holding.symbol] * holding.quantity if holding.symbol in quotes else None
        )
        for holding in holdings
        if holding.symbol
    ]
    return valued, sum(item.worth or 0 for item in valued)
