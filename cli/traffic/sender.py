"""Sends the requests of the demo's traffic in the name of people, and counts each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

from meshwright.cli.traffic.counters import TrafficCounters
from meshwright.cli.traffic.journeys import USER, TrafficRequest

MAX_IN_FLIGHT = 512
"""Maximum journeys in flight. Further ones wait, and the wait counts as latency."""

REQUEST_TIMEOUT = 20.0
"""Seconds after which a request is given up: longer than any timeout of the demo's routes."""

ABORTED, TIMED_OUT, NO_RESPONSE = "aborted", "timeout", "no response"
"""Outcomes without a status code."""


@dataclass(slots=True)
class Person:
    """A visitor at `address`, with tokens once signed in, good until `tokens_end` by the loop's clock."""

    email: str
    address: str
    id: str = ""
    access_token: str = ""
    refresh_token: str = ""
    tokens_end: float = 0.0

    @property
    def headers(self) -> dict[str, str]:
        """What a request of this person carries. The ingress believes the address, which a proxy on its own
        host names, so each person is a client of their own to its limits.
        """
        token = {"Authorization": f"Bearer {self.access_token}"} if self.access_token else {}
        return {"X-Forwarded-For": self.address, **token}


@dataclass(frozen=True, slots=True)
class TrafficResponse:
    """Whether a response was expected, and its JSON body if it has one."""

    ok: bool
    body: Any = None


def open_session(base_url: str) -> aiohttp.ClientSession:
    """A session for all requests of a run."""
    session = aiohttp.ClientSession(
        base_url,
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT),
        connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT),
    )
    # aiohttp retries a GET whose connection is lost; here that must count as an error.
    session._retry_connection = False
    return session


class RequestSender:
    """Sends through `session`, whose base URL is that of the ingress, and counts in `counters`."""

    def __init__(self, session: aiohttp.ClientSession, counters: TrafficCounters) -> None:
        self._session = session
        self._counters = counters

    async def send(self, request: TrafficRequest, person: Person, due: float) -> TrafficResponse:
        """Send one request that was due at `due`. Whoever gets 401 has to sign in again."""
        outcome, ok, body = ABORTED, False, None
        try:
            async with self._session.request(
                request.method,
                request.path.replace(USER, person.id),
                json=request.body,
                headers={**request.headers, **person.headers},
                allow_redirects=False,
            ) as response:
                body = await response.json() if "json" in response.content_type else await response.read()
                outcome, ok = str(response.status), response.status in request.expected_statuses
                if response.status == 401:
                    person.tokens_end = 0.0
        except TimeoutError:
            outcome = TIMED_OUT
        except (aiohttp.ClientError, OSError, ValueError):
            outcome = NO_RESPONSE
        finally:
            finished = asyncio.get_running_loop().time()
            self._counters.add(request.route, outcome, ok, due, finished)
        return TrafficResponse(ok, body)
