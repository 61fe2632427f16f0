"""A model client and the server's state of its stream, connected without sockets."""

from __future__ import annotations

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.delta import Delta
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted
from meshwright.control_plane.xds.protocol.response import Response, ResponseCache
from meshwright.control_plane.xds.protocol.unknown_names import UnknownNames
from tests.fakes.envoy import EnvoyModel
from tests.fakes.snapshot import HandMadeNode

Summary = tuple[str, list[str], list[str]]
"""(last segment of the type URL, names, removed names) of a response."""


class Wire:
    """A stream between `model` (client) and `delta` (server).

    `log` has every response in order. `run` delivers until both sides are silent. `last_accepted` is what
    other clients of the same identity ACKed. `exact_hosts` unknown hosts are stored exactly.
    """

    def __init__(
        self,
        snapshot: HandMadeNode,
        model: EnvoyModel | None = None,
        limit: int = 2000,
        last_accepted: LastAccepted | None = None,
        exact_hosts: int = 2000,
    ) -> None:
        self.snapshot = snapshot
        self.exact_hosts = exact_hosts
        self.last_accepted = last_accepted or LastAccepted()
        self.model = model or EnvoyModel()
        self.limit = limit
        self.log: list[Response] = []
        self.responses: list[Response] = []
        self.requests: list[v3.DeltaDiscoveryRequest] = []
        self.connect()

    def connect(self) -> None:
        """Open a new stream with the client's present state; nothing is delivered yet."""
        hosts = UnknownNames(self.exact_hosts)
        self.delta = Delta(
            self.snapshot, ResponseCache(), self.limit, self.last_accepted, unknown_hosts=hosts
        )
        self.responses.clear()
        self.requests = self.model.reopen()

    def open(self, *types: str) -> list[Response]:
        """Send the first requests of types, then run."""
        self.requests += [self.model.open(type_url) for type_url in types]
        return self.run()

    def subscribe(self, type_url: str, *names: str) -> list[Response]:
        """Subscribe to names, then run."""
        self.requests.append(self.model.subscribe(type_url, *names))
        return self.run()

    def publish(self, snapshot: HandMadeNode, compare_all: bool = False) -> list[Response]:
        """Switch to a newer snapshot, then run. With `compare_all` every resource counts as changed."""
        self.apply(snapshot, compare_all)
        return self.run()

    def apply(self, snapshot: HandMadeNode, compare_all: bool = False) -> None:
        """Switch to a newer snapshot; its responses are sent, but not delivered yet."""
        before, self.snapshot = self.snapshot, snapshot
        changed = snapshot.changed_from(before)
        if compare_all:
            self.send(self.delta.on_snapshot(snapshot, before.resources.keys() | snapshot.resources.keys()))
        elif self.delta.is_affected(changed):
            self.send(self.delta.on_snapshot(snapshot, changed))
        else:
            self.send(self.delta.on_snapshot(snapshot, ()))

    def idle(self) -> list[Response]:
        """Let the idle delay pass, then run."""
        self.send(self.delta.on_idle())
        return self.run()

    def send(self, responses: list[Response]) -> None:
        """Put responses on the wire; none may hold a version that the client has NACKed."""
        rejected = {
            (type_url, name, rejection.version) for (type_url, name), rejection in self.delta.rejected.items()
        }
        for response in responses:
            for name, version in response.items:
                assert (response.type_url, name, version) not in rejected, f"{name} is sent after its NACK"
        self.log += responses
        self.responses += responses

    def step(self) -> None:
        """Deliver one message: the oldest request, else the oldest response."""
        if self.requests:
            self.send(self.delta.on_request(self.requests.pop(0)))
        elif self.responses:
            self.deliver_response()

    def deliver_response(self) -> None:
        """Deliver the oldest response to the client."""
        response = v3.DeltaDiscoveryResponse.FromString(self.responses.pop(0).data)
        self.requests += self.model.handle(response)

    def run(self) -> list[Response]:
        """Deliver everything; returns the responses of this run."""
        start = len(self.log) - len(self.responses)
        while self.requests or self.responses:
            self.step()
        return self.log[start:]

    def version(self, type_url: str, name: str) -> str:
        """The version that the client has; empty for none."""
        return self.model.resources[type_url].get(name, ("", b""))[0]


def summarize(responses: list[Response]) -> list[Summary]:
    """Responses in short."""
    return [
        (
            response.type_url.rpartition(".")[2],
            [name for name, _ in response.items],
            list(response.removed),
        )
        for response in responses
    ]
