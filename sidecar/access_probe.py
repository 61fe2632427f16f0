"""Sends a probe of authorization to one instance, with the identity of this proxy (api/probes.py)."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from meshwright.control_plane.api import probes, trials
from meshwright.control_plane.api.models.authorization import ProbeAnswer, ProbeRequest

TIMEOUT = aiohttp.ClientTimeout(8.0)
"""Less than the control plane waits for a result; Envoy may discover the cluster for 3 s, and call for 5."""

_TEXT_LIMIT = 1000


async def send_probe(socket: Path, argument: str) -> str:
    """Send the ProbeRequest to Envoy's `socket` for trials; returns a ProbeAnswer, as JSON.

    Raises ValueError for an invalid request, and OSError if Envoy does not answer.
    """
    request = ProbeRequest.model_validate_json(argument)
    headers = CIMultiDict(request.headers)
    headers["host"] = request.host
    headers[probes.HEADER] = "1"
    headers[trials.CLUSTER_HEADER] = request.cluster
    headers[trials.INSTANCE_HEADER] = trials.session(request.address)
    url = URL(f"http://envoy{request.path}", encoded=True)
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(socket)),
                skip_auto_headers=("accept", "accept-encoding", "user-agent"),
                timeout=TIMEOUT,
            ) as session,
            session.request(request.method, url, headers=headers, allow_redirects=False) as response,
        ):
            body = (await response.content.read(_TEXT_LIMIT)).decode("utf-8", "replace")
            answer = ProbeAnswer(
                status=response.status,
                allowed=response.status == probes.STATUS and probes.HEADER in response.headers,
                text=body or response.headers.get("grpc-message", "")[:_TEXT_LIMIT],
            )
            return answer.model_dump_json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(f"Envoy does not answer the probe: {error or 'timeout'}") from None
