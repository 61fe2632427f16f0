"""The people who make journeys: each signs up and in when a journey needs it, and refreshes the tokens."""

from __future__ import annotations

import asyncio
import base64
import json

from meshwright.cli.errors import CommandError
from meshwright.cli.traffic.journeys import OK_STATUSES, REGULARS, USER, TrafficRequest
from meshwright.cli.traffic.sender import Person, RequestSender
from meshwright.control_plane.api import errors

PASSWORD = "a password of the demo"  # noqa: S105  of people who do not exist
TOKEN_SECONDS = 200.0
"""Seconds until tokens are refreshed: an access token lives for 300."""

SIGN_IN_SECONDS, ACCEPT_SECONDS = 60.0, 0.5
"""Seconds until the first tokens must be accepted, and between attempts: an ingress that has just started
has no keys for a moment."""

ADDRESSES = 1 << 16
"""Addresses of people, from 198.18.0.0 on: a network for measurements (RFC 2544), which nobody has."""


class People:
    """The people of a run, by number. Those who are not coming back are forgotten."""

    def __init__(self, sender: RequestSender, seed: int) -> None:
        self._sender = sender
        self._seed = seed
        self._people: dict[int, tuple[Person, asyncio.Lock]] = {}

    async def signed_in(self, number: int, due: float) -> tuple[Person, float] | None:
        """A person with tokens, signed in by requests from `due` on if necessary; None if that failed.

        With when the next request is due: at `due`, or later if signing in took its time.
        """
        if number not in self._people:
            self._people[number] = self._person(f"{number}", number), asyncio.Lock()
            self._people.pop(number - 2 * REGULARS, None)
        person, lock = self._people[number]
        is_ready = _has_tokens(person) and not lock.locked()
        async with lock:
            if not _has_tokens(person) and not await self._sign_in(person, due):
                return None
        return person, due if is_ready else asyncio.get_running_loop().time()

    async def wait_until_accepted(self) -> None:
        """Wait until somebody can sign in and the ingress accepts the tokens. Raises CommandError.

        Users may have just started, and a busy machine takes long to hash a password.
        """
        loop, profile = (
            asyncio.get_running_loop(),
            TrafficRequest("GET /api/users/{id}", f"/api/users/{USER}"),
        )
        person, deadline = self._person("first", ADDRESSES - 1), loop.time() + SIGN_IN_SECONDS
        while loop.time() < deadline:
            if (_has_tokens(person) or await self._sign_in(person, loop.time())) and (
                await self._sender.send(profile, person, loop.time())
            ).ok:
                return
            await asyncio.sleep(ACCEPT_SECONDS)
        raise CommandError(errors.FAILED, "the demo's users cannot sign in: see `mesh status service/users`")

    def _person(self, name: str, number: int) -> Person:
        third, fourth = divmod(number % ADDRESSES, 256)
        return Person(f"traffic-{self._seed}-{name}@example.com", f"198.18.{third}.{fourth}")

    async def _sign_in(self, person: Person, due: float) -> bool:
        """By a refresh if there was a session before; whoever cannot refresh logs in again."""
        loop, start = asyncio.get_running_loop(), due
        credentials = {"email": person.email, "password": PASSWORD}
        attempts = [_post("login", credentials)]
        if person.refresh_token:
            attempts.insert(0, _post("refresh", {"refresh_token": person.refresh_token}))
        elif not person.id:
            # 409: an earlier run with this seed has signed them up.
            signup = _post("signup", {**credentials, "name": "Visitor"}, frozenset({201, 409}))
            if not (await self._sender.send(signup, person, due)).ok:
                return False
            start = loop.time()
        for attempt in attempts:
            response = await self._sender.send(attempt, person, start)
            if response.ok:
                person.access_token = response.body["access_token"]
                person.refresh_token = response.body["refresh_token"]
                person.id = _subject(person.access_token)
                person.tokens_end = loop.time() + TOKEN_SECONDS
                return True
            person.access_token = person.refresh_token = ""
            start = loop.time()
        return False


def _has_tokens(person: Person) -> bool:
    return person.tokens_end > asyncio.get_running_loop().time()


def _post(action: str, body: dict[str, str], expected: frozenset[int] = OK_STATUSES) -> TrafficRequest:
    path = f"/api/auth/{action}"
    return TrafficRequest(f"POST {path}", path, "POST", expected, body=body)


def _subject(token: str) -> str:
    """The claim `sub`, which the ingress will verify."""
    payload = token.split(".")[1]
    subject: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    return subject
