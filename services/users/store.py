"""Users' database: people, sessions, refresh tokens and signing keys, shared by the replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.events.event import ServiceEvent
from meshwright.services.events.outbox import add_event, outbox_table
from meshwright.services.kit.database import Database
from meshwright.services.users.domain import SESSION_SECONDS, Role, User

TABLES = MetaData()
users = Table(
    "users",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("password", String(200), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("created", BigInteger, nullable=False),
)
sessions = Table(
    "sessions",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
)
refresh_tokens = Table(
    "refresh_tokens",
    TABLES,
    Column("digest", String(64), primary_key=True),
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("used", BigInteger),
)
keys = Table(
    "signing_keys",
    TABLES,
    Column("kid", String(32), primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("pem", Text, nullable=False),
)
outbox = outbox_table(TABLES)


class EmailTakenError(Exception):
    """Another user has this address."""


class RefreshRefusedError(Exception):
    """A refresh token that does not count. `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class UserStore:
    """People and their sessions. Times are in ms since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: User, password: str) -> None:
        """Add a user with the hash of a password, and tell other services. Raises EmailTakenError."""
        row = {"id": user.id, "email": user.email, "name": user.name, "password": password}
        data = {"userId": user.id, "email": user.email, "timestamp": user.created}
        try:
            async with self._database.write() as connection:
                await connection.execute(
                    insert(users).values(**row, roles=list(user.roles), created=user.created)
                )
                await add_event(connection, outbox, ServiceEvent("user.created", f"user:{user.id}", data))
        except IntegrityError:
            raise EmailTakenError(user.email) from None

    async def get(self, user_id: str) -> User | None:
        """A user."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(users).where(users.c.id == user_id))).first()
        return _user(row) if row else None

    async def find(self, email: str) -> tuple[User, str] | None:
        """A user by address, with the hash of the password."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(users).where(users.c.email == email))).first()
        return (_user(row), row.password) if row else None

    async def change(self, user_id: str, values: dict[str, Any]) -> User | None:
        """Change columns of a user. Raises EmailTakenError."""
        try:
            async with self._database.write() as connection:
                await connection.execute(update(users).where(users.c.id == user_id).values(values))
        except IntegrityError:
            raise EmailTakenError(user_id) from None
        return await self.get(user_id)

    async def set_role(self, user_id: str, role: Role, *, granted: bool) -> User | None:
        """Grant or take a role."""
        async with self._database.write() as connection:
            query = select(users).where(users.c.id == user_id).with_for_update()
            if not (row := (await connection.execute(query)).first()):
                return None
            roles = sorted({*row.roles, role} if granted else set(row.roles) - {role})
            await connection.execute(update(users).where(users.c.id == user_id).values(roles=roles))
        return await self.get(user_id)

    async def erase(self, user_id: str) -> bool:
        """Delete a user with all sessions; returns whether there was one."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(users).where(users.c.id == user_id))).rowcount > 0

    async def sessions(self, user_id: str) -> list[dict[str, int | None]]:
        """When a user's sessions began and ended."""
        query = select(sessions).where(sessions.c.user_id == user_id).order_by(sessions.c.created)
        async with self._database.read() as connection:
            return [{"created": row.created, "ended": row.ended} for row in await connection.execute(query)]

    async def open_session(self, user_id: str, session_id: str, token: str, now: int) -> None:
        """Begin a session with the digest of its first refresh token."""
        async with self._database.write() as connection:
            await connection.execute(insert(sessions).values(id=session_id, user_id=user_id, created=now))
            await connection.execute(insert(refresh_tokens).values(digest=token, session_id=session_id))

    async def rotate(self, old: str, new: str, now: int) -> tuple[User, str]:
        """Replace a refresh token; returns the user and the session's id.

        Raises RefreshRefusedError. A token that is used twice ends its session: one of the two has stolen it.
        """
        async with self._database.write() as connection:
            query = select(refresh_tokens, sessions.c.user_id, sessions.c.created, sessions.c.ended).join(
                sessions
            )
            row = (await connection.execute(query.where(refresh_tokens.c.digest == old))).first()
            if row is None or row.ended is not None or row.created < now - 1000 * SESSION_SECONDS:
                raise RefreshRefusedError("refresh_token_invalid")
            unused = (refresh_tokens.c.digest == old) & refresh_tokens.c.used.is_(None)
            marked = await connection.execute(update(refresh_tokens).where(unused).values(used=now))
            is_reused = marked.rowcount == 0
            if is_reused:
                await _end(connection, row.session_id, now)
            else:
                await connection.execute(insert(refresh_tokens).values(digest=new, session_id=row.session_id))
            user_row = (await connection.execute(select(users).where(users.c.id == row.user_id))).one()
        if is_reused:
            raise RefreshRefusedError("refresh_token_reused")
        return _user(user_row), row.session_id

    async def end_session_of(self, token: str, now: int) -> None:
        """End the session of a refresh token's digest, if there is one."""
        async with self._database.write() as connection:
            query = select(refresh_tokens.c.session_id).where(refresh_tokens.c.digest == token)
            if session_id := await connection.scalar(query):
                await _end(connection, session_id, now)

    async def is_open(self, session_id: str) -> bool:
        """Whether a session has not ended."""
        query = select(sessions.c.id).where(sessions.c.id == session_id, sessions.c.ended.is_(None))
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None


async def _end(connection: AsyncConnection, session_id: str, now: int) -> None:
    still_open = (sessions.c.id == session_id) & sessions.c.ended.is_(None)
    await connection.execute(update(sessions).where(still_open).values(ended=now))


def _user(row: Row[Any]) -> User:
    roles: Sequence[Role] = row.roles
    return User(row.id, row.email, row.name, tuple(roles), row.created)
