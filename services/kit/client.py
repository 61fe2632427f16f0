"""Calls other services by name, through the sidecar.

`HTTP_PROXY` is the sidecar, which handles retries, timeouts and certificates, so the client calls once. It
passes on the trace, the Idempotency-Key and the caller of the request that is being served.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import structlog
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from pydantic import BaseModel, ConfigDict, ValidationError

from meshwright.services.kit.callers import headers_of_caller
from meshwright.services.kit.operations import ErrorBody

CALL_TIMEOUT_SECONDS = 60.0
"""The last resort for a call that the mesh fails to end."""

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""Bytes of a response."""

PART_SECONDS = 1.0
"""Seconds that a page waits for a part: a person is waiting for the page."""

log = structlog.get_logger()
idempotency_key: ContextVar[str] = ContextVar("idempotency_key", default="")
"""The Idempotency-Key of the request that is being served."""


class ServiceUnavailableError(Exception):
    """A service sent no usable response: no connection, a timeout, a 5xx, or something unreadable."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service} is unavailable: {reason}")
        self.service = service


@dataclass(frozen=True, slots=True)
class ServiceResponse:
    """A response with a status below 500. `body` is None when it is not JSON."""

    status: int
    body: Any

    @property
    def code(self) -> str:
        """The code of an ErrorBody; empty for any other body."""
        try:
            return ErrorBody.model_validate(self.body).error.code
        except ValueError:
            return ""


class PartModel(BaseModel):
    """The fields that a page needs of another service's response, by its names. It ignores others."""

    model_config = ConfigDict(extra="ignore", frozen=True)


PartT = TypeVar("PartT", bound=PartModel)


class ServiceClient:
    """Calls other services over persistent connections to the sidecar."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(
        self,
        method: str,
        service: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str = "",
    ) -> ServiceResponse:
        """Send one request, with a JSON body if given. Raises ServiceUnavailableError.

        An Idempotency-Key lets the mesh retry the call: `key`, or that of the request that is being served.
        """
        key = key or idempotency_key.get()
        headers = {**headers_of_caller.get(), **({"Idempotency-Key": key} if key else {})}
        try:
            async with self._session.request(
                method, f"http://{service}{path}", json=body, headers=headers, allow_redirects=False
            ) as response:
                content = await _read_limited(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServiceUnavailableError(service, str(error) or type(error).__name__) from error
        if response.status >= 500:
            raise ServiceUnavailableError(service, f"status {response.status}")
        try:
            return ServiceResponse(response.status, json.loads(content) if content else None)
        except ValueError:
            return ServiceResponse(response.status, None)

    async def part(self, service: str, path: str, model: type[PartT]) -> PartT | None:
        """A part of a page, from another service; None when there is no valid response in time."""
        try:
            async with asyncio.timeout(PART_SECONDS):
                response = await self.call("GET", service, path)
            if response.status == 200:
                return model.model_validate(response.body)
            reason = f"status {response.status}"
        except TimeoutError:
            reason = f"no response within {PART_SECONDS:g} s"
        except (ServiceUnavailableError, ValidationError) as error:
            reason = str(error)
        log.warning("part of the page missing", upstream=service, error=reason)
        return None


async def _read_limited(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES:
            raise aiohttp.ClientPayloadError(f"more than {MAX_RESPONSE_BYTES} bytes")
    return bytes(content)


@asynccontextmanager
async def open_client() -> AsyncIterator[ServiceClient]:
    """A client that obeys HTTP_PROXY and NO_PROXY (`trust_env`) and propagates the trace."""
    session = aiohttp.ClientSession(
        trust_env=True,
        trace_configs=[create_trace_config()],
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    async with session:
        yield ServiceClient(session)
