"""NFTs' database, shared by the replicas: the tokens, and all owners that each has had."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.kit.database import Database
from meshwright.services.nfts.domain import Holding, Nft

TABLES = MetaData()
nfts = Table(
    "nfts",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("owner", String(64), nullable=False, index=True),
    Column("symbol", String(64), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
)
ownerships = Table(
    "ownerships",
    TABLES,
    Column("nft_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("since", BigInteger, nullable=False),
)


class NftStore:
    """The NFTs and their owners. Times are in ms since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mint(self, nft: Nft) -> bool:
        """Add an NFT; False if its id exists."""
        values = {
            "id": nft.id, "name": nft.name, "metadata": dict(nft.metadata), "owner": nft.owner,
            "symbol": nft.symbol, "quantity": nft.quantity, "created": nft.created,
        }  # fmt: skip
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(nfts).values(values))
                await _add_owner(connection, nft, nft.created)
        except IntegrityError:
            return False
        return True

    async def get(self, nft_id: str) -> Nft | None:
        """An NFT."""
        async with self._database.read() as connection:
            return next(iter(await _load(connection, [nft_id])), None)

    async def change_owner(self, nft_id: str, decide: Callable[[Nft], Nft], now: int) -> Nft | None:
        """Give an NFT to the owner that `decide` appends; None if there is no such NFT.

        Whatever `decide` raises leaves it as it is. Of concurrent changes one waits for the other.
        """
        async with self._database.write() as connection:
            await connection.execute(select(nfts.c.id).where(nfts.c.id == nft_id).with_for_update())
            nft = next(iter(await _load(connection, [nft_id])), None)
            if nft is None:
                return None
            decided = decide(nft)
            if decided != nft:
                await connection.execute(update(nfts).where(nfts.c.id == nft_id).values(owner=decided.owner))
                await _add_owner(connection, decided, now)
            return decided

    async def list_by_owner(self, user_id: str, limit: int) -> list[Nft]:
        """The newest NFTs of a person, newest first."""
        newest = select(nfts.c.id).where(nfts.c.owner == user_id).order_by(nfts.c.created.desc(), nfts.c.id)
        async with self._database.read() as connection:
            ids = [row.id for row in await connection.execute(newest.limit(limit))]
            return await _load(connection, ids)

    async def holdings(self, user_id: str) -> list[Holding]:
        """What a person owns of each asset, by symbol."""
        query = select(nfts.c.symbol, func.count().label("nfts"), func.sum(nfts.c.quantity).label("quantity"))
        query = query.where(nfts.c.owner == user_id).group_by(nfts.c.symbol).order_by(nfts.c.symbol)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [Holding(row.symbol, row.nfts, int(row.quantity)) for row in rows]


async def _add_owner(connection: AsyncConnection, nft: Nft, since: int) -> None:
    values = {"nft_id": nft.id, "number": len(nft.owners), "owner": nft.owner, "since": since}
    await connection.execute(insert(ownerships).values(values))


async def _load(connection: AsyncConnection, ids: Iterable[str]) -> list[Nft]:
    """The NFTs with these ids, newest first."""
    ids = list(ids)
    history = select(ownerships).where(ownerships.c.nft_id.in_(ids)).order_by(ownerships.c.number)
    owners: dict[str, list[str]] = {}
    for row in await connection.execute(history):
        owners.setdefault(row.nft_id, []).append(row.owner)
    query = select(nfts).where(nfts.c.id.in_(ids)).order_by(nfts.c.created.desc(), nfts.c.id)
    return [_nft_from_row(row, owners[row.id]) for row in await connection.execute(query)]


def _nft_from_row(row: Row[Any], owners: list[str]) -> Nft:
    metadata = row._mapping["metadata"]
    return Nft(row.id, row.name, metadata, tuple(owners), row.symbol, row.quantity, row.created)
