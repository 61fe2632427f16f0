"""A compromised workload: it has a certificate of its own and speaks to every port of the control plane."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.message import Message

from meshwright.control_plane.agents.service import SERVICE
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.telemetry.ingest.queue import Signal
from meshwright.control_plane.telemetry.ingest.server import SERVICES
from tests.fakes.envoy import METHOD, node
from tests.fakes.pki import key_pem
from tests.scale.plane import ControlPlaneProcess

OPTIONS = (("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),)
TIMEOUT = 60.0


class Attacker:
    """A workload with one certificate; a new one of the same name has another enrolment."""

    def __init__(self, plane: ControlPlaneProcess, name: str, role: str = "service") -> None:
        signed, key = plane.pki.svid(name, role)
        self.name = name
        self.credentials = grpc.ssl_channel_credentials(
            plane.pki.roots, key_pem(key), signed.certificate.encode()
        )
        self._xds = grpc.secure_channel(plane.addresses.xds, self.credentials, OPTIONS)
        self._otlp = grpc.secure_channel(plane.addresses.otlp, self.credentials, OPTIONS)

    def __enter__(self) -> Attacker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._xds.close()
        self._otlp.close()

    def call(self, method: str, **message: Any) -> Any:
        """An agent's call; raises grpc.RpcError."""
        call = self._xds.unary_unary(f"/{SERVICE}/{method}", bytes, bytes)
        return json.loads(call(json.dumps(message).encode(), timeout=TIMEOUT))

    def register(self, instance: str, port: int = 29999, **fields: Any) -> Any:
        """Register an instance of its service."""
        ports = [{"name": "http", "port": 80, "protocol": "http"}]
        values = {"address": "127.0.0.1", "port": port, "ports": ports, **fields}
        return self.call("Register", instance=instance, service=self.name, **values)

    def export(self, signal: Signal, request: Message) -> None:
        """Send telemetry; raises grpc.RpcError."""
        call = self._otlp.stream_unary(f"/{SERVICES[signal]}/Export", bytes, bytes)
        call(iter([request.SerializeToString()]), timeout=TIMEOUT)

    def stream(self, name: str, subscriptions: Mapping[str, tuple[str, ...]]) -> SilentStream:
        """An xDS stream that subscribes and never ACKs."""
        return SilentStream(self._xds, node(name, self.name), subscriptions)


class SilentStream:
    """A delta stream that only subscribes."""

    def __init__(
        self, channel: grpc.Channel, peer: v3.Node, subscriptions: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        for type_url, names in subscriptions.items():
            request = v3.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names)
            request.node.CopyFrom(peer)
            self._requests.put(request.SerializeToString())
        self._call = channel.stream_stream(METHOD, bytes, bytes)(self._outgoing())

    def _outgoing(self) -> Iterator[bytes]:
        while (request := self._requests.get()) is not None:
            yield request

    def read(self) -> v3.DeltaDiscoveryResponse:
        """The next response; raises grpc.RpcError once the stream is closed."""
        return v3.DeltaDiscoveryResponse.FromString(next(iter(self._call)))

    def close(self) -> None:
        """End the stream."""
        self._requests.put(None)
        self._call.cancel()  # type: ignore[no-untyped-call]


def refusal(error: grpc.RpcError) -> tuple[str, str]:
    """Code and details of a refused call."""
    return error.code().name, error.details() or ""
