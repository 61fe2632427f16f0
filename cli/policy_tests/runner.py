"""Runs the cases one after the other: configures the stub services, sends the requests, and judges."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from multidict import CIMultiDict
from yarl import URL

from meshwright.cli.policy_tests.scratch_mesh import ScratchMesh
from meshwright.cli.policy_tests.spec import PolicyCase
from meshwright.cli.policy_tests.stubs import INSTANCE_TAG, REQUEST_TAG, StubServices
from meshwright.cli.policy_tests.tokens import CaseTokens
from meshwright.cli.policy_tests.verdict import Exchange, Failure, failures

REQUEST_SECONDS = 120.0
"""How long a caller waits: longer than any service may delay."""

COPY_SECONDS = 10.0
"""How long a copy may be late. Normally it is there before the response."""

AUTOMATIC_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")
"""Headers that a client adds and a case does not name: services shall get none of them."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case that was run. `index` is its place in the file; without failures it has passed."""

    index: int
    name: str
    seconds: float
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Whether everything expected holds."""
        return not self.failures


async def run_cases(
    cases: dict[int, PolicyCase], mesh: ScratchMesh, services: StubServices, tokens: CaseTokens
) -> AsyncIterator[CaseResult]:
    """The results of cases, which are given by their places in the file, as they are there."""
    connector = TCPConnector(force_close=True)
    timeout = ClientTimeout(total=REQUEST_SECONDS)
    async with ClientSession(
        connector=connector, timeout=timeout, skip_auto_headers=AUTOMATIC_HEADERS, auto_decompress=True
    ) as session:
        caller = _Caller(session, mesh, services, tokens)
        for index, case in cases.items():
            started = time.monotonic()
            services.respond(case.respond)
            exchanges = [await caller.send(case, f"{index}-{number}") for number in range(case.times)]
            failed = tuple(failures(case.expect, exchanges, services.plan))
            yield CaseResult(index, case.name, time.monotonic() - started, failed)


@dataclass(frozen=True, slots=True)
class _Caller:
    """Sends requests into the mesh."""

    session: ClientSession
    mesh: ScratchMesh
    services: StubServices
    tokens: CaseTokens

    async def send(self, case: PolicyCase, tag: str) -> Exchange:
        """One request of a case, and what came of it."""
        url, proxy, headers = self._target(case)
        headers[REQUEST_TAG] = tag
        request = case.request
        try:
            async with self.session.request(
                request.method,
                url,
                proxy=proxy,
                headers=headers,
                data=request.body.encode() or None,
                allow_redirects=False,
            ) as response:
                body = (await response.read()).decode(errors="replace")
        except (ClientError, TimeoutError) as error:
            return Exchange(error=str(error) or type(error).__name__)
        if case.expect.mirrored_to:
            await self.services.until_received(tag, case.expect.mirrored_to, COPY_SECONDS)
        names = {instance.name: instance for instance in self.services.plan.instances}
        instance = names.get(response.headers.get(INSTANCE_TAG, ""))
        got = {name.lower(): value for name, value in response.headers.items()}
        return Exchange(response.status, got, body, instance, self.services.received_for(tag))

    def _target(self, case: PolicyCase) -> tuple[URL, URL | None, CIMultiDict[str]]:
        """Where a request goes, by which proxy, with which headers."""
        request, caller = case.request, case.from_
        authority = f"{request.host}:{request.port}" if request.port else request.host
        headers, path = CIMultiDict(request.headers), request.path
        if request.claims is not None:
            path = self._add_token(request.claims, headers, path)
        if caller.gateway:
            headers.setdefault("host", authority)
            port = self.mesh.gateways[caller.gateway]
            return URL(f"http://127.0.0.1:{port}{path}", encoded=True), None, headers
        proxy = URL(f"http://127.0.0.1:{self.mesh.outbound[caller.name]}")
        return URL(f"http://{authority}{path}", encoded=True), proxy, headers

    def _add_token(self, claims: Mapping[str, Any], headers: CIMultiDict[str], path: str) -> str:
        """Put a token where it belongs; returns the path, which has it if that is the query."""
        token, place = self.tokens.sign(claims, time.time())
        if place.header:
            headers[place.header] = f"{place.prefix}{token}"
        elif place.cookie:
            headers.add("cookie", f"{place.cookie}={token}")
        else:
            return f"{path}{'&' if '?' in path else '?'}{place.query}={token}"
        return path
