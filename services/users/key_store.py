"""The signing keys, in the database of users, so that all replicas sign with the same one."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from meshwright.services.kit.database import Database
from meshwright.services.users import domain
from meshwright.services.users.domain import SigningKey
from meshwright.services.users.store import keys
from meshwright.services.users.tokens import new_key


class KeyStore:
    """Makes, retires and reads keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rotate(self, now: int) -> list[SigningKey]:
        """Make a new key if it is time, delete retired ones; `now` in ms. Returns the keys to publish."""
        async with self._database.exclusive() as connection:
            all_keys = [
                SigningKey(row.kid, row.created, row.pem) for row in await connection.execute(select(keys))
            ]
            if domain.needs_key(all_keys, now):
                key = new_key(now)
                await connection.execute(insert(keys).values(kid=key.kid, created=key.created, pem=key.pem))
                all_keys.append(key)
            retired = {key.kid for key in domain.retired_keys(all_keys, now)}
            if retired:
                await connection.execute(delete(keys).where(keys.c.kid.in_(retired)))
        return [key for key in all_keys if key.kid not in retired]

    async def read(self) -> list[SigningKey]:
        """All keys."""
        async with self._database.read() as connection:
            return [
                SigningKey(row.kid, row.created, row.pem) for row in await connection.execute(select(keys))
            ]
