"""The sidecar through which a client on this host calls: that of its own service.

A client that is not recognised (Callers), such as a resolver or a shell, calls as the host's only service. If
there are several or none, or with `--caller`, it calls as a service of its own, whose sidecar starts when it
is needed: no client has the identity of one of several services by accident.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

import structlog

from meshwright.sidecar.config import Workload
from meshwright.sidecar.consul.callers import Callers, ClientSocket
from meshwright.sidecar.consul.model import CALLER_LABEL
from meshwright.sidecar.lifecycle import Phase
from meshwright.sidecar.status import AgentStatus

UNKNOWN_CALLER = "consul-clients"
"""The service as which clients call that are not recognised."""

READY_WITHIN = 15.0
"""Seconds that a look-up waits for the caller's sidecar, which may have started just now."""

POLL_INTERVAL = 0.1

log = structlog.get_logger(__name__)


class CallingAgent(Protocol):
    """The agent that runs the sidecars."""

    def start_workload(self, workload: Workload) -> str:
        """Run one more. Raises ValueError."""

    def status(self) -> AgentStatus:
        """The status of all workloads."""


class OutboundSidecars:
    """Chooses sidecars, and starts one for clients without a service. `ports`: those of Registry."""

    def __init__(
        self,
        agent: CallingAgent,
        create_token: Callable[[str], Awaitable[Path]],
        ports: Callable[[], Mapping[int, str]],
        default_caller: str = "",
    ) -> None:
        self._agent = agent
        self._create_token = create_token
        self._ports = ports
        self._default = default_caller
        self._callers = Callers()
        self._recognised: WeakKeyDictionary[asyncio.BaseTransport, tuple[Mapping[int, str], str]]
        self._recognised = WeakKeyDictionary()
        self._lock = asyncio.Lock()

    @property
    def unknown_caller(self) -> str:
        """The service as which clients call that are not recognised, where there are several."""
        return self._default or UNKNOWN_CALLER

    async def note_registration(self, service: str, client: ClientSocket) -> None:
        """Remember the process that registered a service."""
        await asyncio.to_thread(self._callers.register, service, client)

    async def caller_of(self, client: ClientSocket, connection: asyncio.BaseTransport | None = None) -> str:
        """The service as which a client calls. What is recognised once holds for the connection."""
        ports = self._ports()
        if connection is not None and self._recognised.get(connection, (None, ""))[0] == ports:
            return self._recognised[connection][1]
        service = await asyncio.to_thread(self._callers.service_of, client, ports)
        if service and connection is not None:
            self._recognised[connection] = ports, service
        services = set(ports.values())
        return service or self._default or (services.pop() if len(services) == 1 else self.unknown_caller)

    def port_of(self, caller: str) -> int:
        """The outbound port of a caller's sidecar; 0: it has none. One that stops is the last choice."""
        ports = {
            workload.phase == Phase.RUNNING.value: workload.ports["outbound"]
            for workload in reversed(self._agent.status().workloads)
            if workload.service == caller and workload.ports.get("outbound")
        }
        return ports.get(True) or ports.get(False) or 0

    async def wait_ready(self, caller: str) -> None:
        """Wait until a caller's sidecar runs, up to READY_WITHIN. Raises UnreachableError, ApiError."""
        async with self._lock:
            if not any(item.service == caller for item in self._agent.status().workloads):
                await self._start(caller)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN):
                while not self._is_running(caller):  # noqa: ASYNC110  the agent tells nobody
                    await asyncio.sleep(POLL_INTERVAL)

    def _is_running(self, caller: str) -> bool:
        workloads = self._agent.status().workloads
        return any(item.service == caller and item.phase == Phase.RUNNING.value for item in workloads)

    async def _start(self, caller: str) -> None:
        log.info("a sidecar starts for clients that are no registered service", service=caller)
        name = f"{caller[:54]}-{secrets.token_hex(4)}"
        token_file = await self._create_token(caller)
        labels = {CALLER_LABEL: "true"}
        self._agent.start_workload(Workload(name=name, service=caller, token_file=token_file, labels=labels))
