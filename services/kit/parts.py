"""The parts of a page, each from another service. One that fails or is too slow is left out."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from meshwright.services.kit.client import ServiceClient, ServiceUnavailableError

PART_SECONDS = 1.0
"""Seconds that a page waits for a part: a person is waiting for the page."""

log = structlog.get_logger()
PartT = TypeVar("PartT", bound=BaseModel)


class PartModel(BaseModel):
    """The fields that a page needs of another service's response, by its names. It ignores others."""

    model_config = ConfigDict(extra="ignore", frozen=True)


async def fetch_part(client: ServiceClient, service: str, path: str, model: type[PartT]) -> PartT | None:
    """A service's response; None when there is no valid one in time."""
    try:
        async with asyncio.timeout(PART_SECONDS):
            response = await client.call("GET", service, path)
        if response.status == 200:
            return model.model_validate(response.body)
        reason = f"status {response.status}"
    except TimeoutError:
        reason = f"no response within {PART_SECONDS:g} s"
    except (ServiceUnavailableError, ValidationError) as error:
        reason = str(error)
    log.warning("part of the page missing", upstream=service, error=reason)
    return None
