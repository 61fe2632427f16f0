"""The people in whose name the demo's traffic is sent: they sign up once, log in and refresh their tokens."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from meshwright.cli.errors import CommandError
from meshwright.cli.traffic.plan import PEOPLE
from meshwright.control_plane.api import errors

PASSWORD = "a password of the demo"  # noqa: S105  of people who do not exist
REFRESH_SECONDS = 200.0
"""Seconds between refreshes: an access token lives for 300."""

SIGN_IN_SECONDS, ACCEPT_SECONDS = 60.0, 0.2
"""Seconds until the tokens must be accepted. and between
attempts: an ingress that has just started has no keys for a moment."""


@dataclass(slots=True)
class Person:
    """A user with the newest tokens."""

    id: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        """What a request of this person carries."""
        return {"Authorization": f"Bearer {self.access_token}"}


async def sign_in_all(session: aiohttp.ClientSession) -> list[Person]:
    """Sign everybody up and in, and wait until the ingress accepts the tokens. Raises CommandError."""
    try:
        async with asyncio.timeout(SIGN_IN_SECONDS):
            people = [await _sign_in_at_last(session, number) for number in range(PEOPLE)]
            await _until_accepted(session, people[0])
    except (TimeoutError, aiohttp.ClientError, KeyError) as error:
        reason = str(error) or "no answer in time"
        raise CommandError(
            errors.FAILED, f"the demo's users cannot sign in ({reason}): see `mesh status service/users`"
        ) from None
    return people


async def keep_signed_in(session: aiohttp.ClientSession, people: list[Person]) -> None:
    """Refresh the tokens until cancelled. Whoever cannot refresh logs in again."""
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        for number, person in enumerate(people):
            try:
                body = await _post(session, "refresh", {"refresh_token": person.refresh_token})
                person.access_token, person.refresh_token = body["access_token"], body["refresh_token"]
            except (aiohttp.ClientError, TimeoutError, KeyError):
                try:
                    people[number] = await _sign_in(session, number)
                except (aiohttp.ClientError, TimeoutError, KeyError):
                    continue  # its requests fail and are counted, until the next refresh


async def _sign_in_at_last(session: aiohttp.ClientSession, number: int) -> Person:
    """Try until it works: users may have just started, and a busy machine takes long to hash a password."""
    while True:
        try:
            return await _sign_in(session, number)
        except (aiohttp.ClientError, TimeoutError, KeyError):
            await asyncio.sleep(ACCEPT_SECONDS)


async def _sign_in(session: aiohttp.ClientSession, number: int) -> Person:
    """Raises KeyError when the login is refused."""
    credentials = {"email": f"traffic-{number}@example.com", "password": PASSWORD}
    await _post(session, "signup", credentials)  # refused when an earlier run has done it
    body = await _post(session, "login", credentials)
    return Person(_subject(body["access_token"]), body["access_token"], body["refresh_token"])


async def _until_accepted(session: aiohttp.ClientSession, person: Person) -> None:
    for _ in range(int(SIGN_IN_SECONDS / ACCEPT_SECONDS)):
        async with session.get(f"/api/users/{person.id}", headers=person.headers) as response:
            if response.status == 200:
                return
        await asyncio.sleep(ACCEPT_SECONDS)
    raise TimeoutError("the ingress refuses the tokens")


async def _post(session: aiohttp.ClientSession, action: str, body: dict[str, str]) -> dict[str, Any]:
    async with session.post(f"/api/auth/{action}", json=body) as response:
        if "json" not in response.content_type:
            return {}
        result: dict[str, Any] = await response.json()
        return result


def _subject(token: str) -> str:
    """The claim `sub`, which the ingress will verify."""
    payload = token.split(".")[1]
    subject: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    return subject
