"""Fixtures of the OTLP port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.control_plane.telemetry.ingest.otlp_port import OtlpPort, otlp_port
from tests.fakes.pki import Pki


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture
async def port(pki: Pki) -> AsyncIterator[OtlpPort]:
    async with otlp_port(pki) as running:
        yield running
