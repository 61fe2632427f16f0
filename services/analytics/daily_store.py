"""Analytics' database of daily figures. Each event is applied once, in one transaction with its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from meshwright.services.analytics.daily import DailyAddition
from meshwright.services.analytics.store import TABLES
from meshwright.services.kit.database import Database

days = Table(
    "daily_figures",
    TABLES,
    Column("day", String(10), primary_key=True),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("created", "confirmed", "cancelled", "shipped", "revenue")
    ),
)
applied = Table("applied_events", TABLES, Column("event_id", String(128), primary_key=True))


@dataclass(frozen=True, slots=True)
class DailyFigures:
    """A day's orders by what happened to them on it, and the revenue of those confirmed, in minor units."""

    day: str
    created: int = 0
    confirmed: int = 0
    cancelled: int = 0
    shipped: int = 0
    revenue: int = 0


class DailyStore:
    """The figures of all days."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, event_id: str, change: DailyAddition) -> bool:
        """Add an event to its day; returns whether it was new."""
        await self._ensure(change.day)
        added = {change.figure: days.c[change.figure] + 1, "revenue": days.c.revenue + change.revenue}
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(applied).values(event_id=event_id))
                await connection.execute(update(days).where(days.c.day == change.day).values(added))
        except IntegrityError:
            return False
        return True

    async def _ensure(self, day: str) -> None:
        async with self._database.read() as connection:
            if (await connection.execute(select(days.c.day).where(days.c.day == day))).first():
                return
        values: dict[str, Any] = {column.name: 0 for column in days.c}
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(days).values({**values, "day": day}))
        except IntegrityError:
            return  # another replica has just inserted it

    async def latest(self, limit: int) -> list[DailyFigures]:
        """The latest days, oldest first."""
        query = select(days).order_by(days.c.day.desc()).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [DailyFigures(**row._asdict()) for row in rows][::-1]
