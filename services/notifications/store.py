"""Notifications' database: what was sent to each user, and until when they have read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from meshwright.services.kit.database import Database
from meshwright.services.notifications.domain import Kind, Notification

TABLES = MetaData()
sent = Table(
    "sent",
    TABLES,
    Column("id", String(160), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("sent", BigInteger, nullable=False),
    Index("sent_by_user", "user_id", "sent"),
)
reads = Table(
    "reads",
    TABLES,
    Column("user_id", String(64), primary_key=True),
    Column("until", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class SentNotification:
    """A notification that was sent; `sent` in ms since the epoch."""

    kind: Kind
    subject: str
    sent: int


class NotificationStore:
    """The notifications that were sent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_sent(self, notification_id: str) -> bool:
        """Whether a notification was sent."""
        async with self._database.read() as connection:
            query = select(sent.c.id).where(sent.c.id == notification_id)
            return (await connection.execute(query)).first() is not None

    async def record(self, notification: Notification, now: int) -> None:
        """Record that a notification was sent. Idempotent."""
        values = {"id": notification.id, "kind": notification.kind, "user_id": notification.user_id}
        try:
            async with self._database.write() as connection:
                await connection.execute(
                    insert(sent).values(**values, subject=notification.subject, sent=now)
                )
        except IntegrityError:
            return

    async def list_by_user(self, user_id: str, limit: int) -> list[SentNotification]:
        """What was sent to a user, newest first."""
        query = select(sent).where(sent.c.user_id == user_id).order_by(sent.c.sent.desc(), sent.c.id)
        async with self._database.read() as connection:
            rows = await connection.execute(query.limit(limit))
            return [SentNotification(cast(Kind, row.kind), row.subject, row.sent) for row in rows]

    async def unread(self, user_id: str) -> int:
        """The number of notifications that were sent to a user since the last `mark_read`."""
        until = select(reads.c.until).where(reads.c.user_id == user_id).scalar_subquery()
        query = select(func.count()).select_from(sent)
        query = query.where(sent.c.user_id == user_id, sent.c.sent > func.coalesce(until, 0))
        async with self._database.read() as connection:
            return await connection.scalar(query) or 0

    async def mark_read(self, user_id: str, now: int) -> None:
        """A user has read all notifications until `now`, in ms."""
        async with self._database.exclusive() as connection:
            marked = await connection.execute(
                update(reads).where(reads.c.user_id == user_id).values(until=now)
            )
            if marked.rowcount == 0:
                await connection.execute(insert(reads).values(user_id=user_id, until=now))
