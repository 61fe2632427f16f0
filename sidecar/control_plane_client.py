"""Client of the control plane's agent service: gRPC with the workload's SVID."""

from __future__ import annotations

import asyncio

import grpc

from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.commands import CommandBatch, CommandResult, ProxyRef
from meshwright.control_plane.api.models.enrolment import SignRequest, SignResponse
from meshwright.control_plane.api.models.instances import (
    DrainResult,
    InstanceDeparture,
    InstanceRef,
    LeaseGrant,
    Registration,
)
from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.sidecar.addresses import split_host_port
from meshwright.sidecar.enrolment import parse_sign_response
from meshwright.sidecar.errors import RejectedError, UnavailableError
from meshwright.sidecar.svid import Svid

AGENT_SERVICE = "meshwright.agent.v1.Agent"

CALL_TIMEOUT = 2.0
"""Seconds for one call."""

DRAIN_TIMEOUT = 10.0
"""Seconds for a drain: the control plane waits for every caller's sidecar."""

FETCH_TIMEOUT = 25.0
"""Seconds for a long poll for commands. The control plane holds it for fifteen."""

_REJECTED_CODES = (
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.FAILED_PRECONDITION,
)


class ControlPlaneClient:
    """The agent service, called with one SVID. Methods raise UnavailableError and RejectedError."""

    def __init__(self, address: str, svid: Svid) -> None:
        host, port = split_host_port(address, 15012)
        credentials = grpc.ssl_channel_credentials(
            svid.bundle.encode(), svid.key.encode(), svid.certificate.encode()
        )
        options = [
            ("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 1000),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._channel = grpc.aio.secure_channel(target, credentials, options)
        self._poll: asyncio.Task[bytes] | None = None

    async def close(self) -> None:
        """Cancel the long poll, give other calls CALL_TIMEOUT to finish, and close the connection."""
        if self._poll is not None:
            self._poll.cancel()
        await self._channel.close(CALL_TIMEOUT)

    async def register(self, registration: Registration) -> LeaseGrant:
        """Register an instance, or renew its lease."""
        return LeaseGrant.model_validate_json(await self._call("Register", registration))

    async def deregister(self, instance: str, failure: str = "") -> None:
        """Remove an instance for good; `failure` says why it did not end as planned."""
        await self._call("Deregister", InstanceDeparture(instance=instance, failure=failure[:300]))

    async def drain(self, instance: str) -> DrainResult:
        """Remove an instance from its callers' sidecars and wait for their acknowledgements."""
        response = await self._call("Drain", InstanceRef(instance=instance), DRAIN_TIMEOUT)
        return DrainResult.model_validate_json(response)

    async def renew(self, csr: str) -> SignResponse:
        """Get a new SVID for a new key, authenticated by the present one."""
        return parse_sign_response(await self._call("Renew", SignRequest(csr=csr)))

    async def report(self, report: ProxyReport) -> None:
        """Send a proxy's report."""
        await self._call("Report", report)

    async def fetch_commands(self, proxy: ProxyRef) -> CommandBatch:
        """Long poll for commands. Raises UnavailableError also when `close` is called meanwhile."""
        self._poll = asyncio.create_task(self._call("FetchCommands", proxy, FETCH_TIMEOUT))
        try:
            return CommandBatch.model_validate_json(await self._poll)
        except asyncio.CancelledError:
            self._poll.cancel()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise UnavailableError("FetchCommands: the connection was closed") from None

    async def send_result(self, result: CommandResult) -> None:
        """Send the result of a command."""
        await self._call("ReportResult", result)

    async def _call(self, method: str, message: ApiModel, timeout: float = CALL_TIMEOUT) -> bytes:  # noqa: ASYNC109
        call = self._channel.unary_unary(f"/{AGENT_SERVICE}/{method}", None, None)
        try:
            response: bytes = await call(message.model_dump_json().encode(), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            kind = RejectedError if error.code() in _REJECTED_CODES else UnavailableError
            raise kind(f"{method}: {error.details() or error.code().name}") from None
        return response
