"""Control planes that call each other without a network, through the bytes of their messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from meshwright.control_plane.cluster.methods import Method, RequestT, ResponseT
from meshwright.control_plane.cluster.peer_client import Handler, PeerError
from meshwright.control_plane.cluster.service import ServedMethod
from meshwright.control_plane.errors import MeshError, NotFoundError


@dataclass
class FakeMembers:
    """The peers of one control plane: they respond at once, or not at all if `unreachable`.

    `bodies` overrides the response bytes of a method. A call to a method in `silent` fails.
    """

    id: str = ""
    peers: list[FakeMembers] = field(default_factory=list)
    methods: dict[str, ServedMethod] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    unreachable: bool = False
    is_first: bool = True
    timeouts: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.on_poll: Callable[[str], Awaitable[None]] = _nothing
        self.on_lost: Callable[[str], None] = lambda _id: None

    def register_method(
        self, method: Method[RequestT, ResponseT], handler: Handler[RequestT, ResponseT]
    ) -> None:
        self.methods[method.name] = ServedMethod(method, handler)

    def address(self, id: str) -> str:
        return f"{id}:15012"

    def reachable(self) -> tuple[str, ...]:
        return tuple(peer.id for peer in self.peers if not peer.unreachable)

    async def broadcast(
        self, method: Method[RequestT, ResponseT], request: RequestT, *, timeout_seconds: float = 1.0
    ) -> list[ResponseT]:
        responses = []
        for id in self.reachable():
            try:
                responses.append(await self.call(id, method, request, timeout_seconds=timeout_seconds))
            except PeerError:
                continue
        return responses

    async def call(
        self, id: str, method: Method[RequestT, ResponseT], request: RequestT, *, timeout_seconds: float = 1.0
    ) -> ResponseT:
        self.timeouts.append(timeout_seconds)
        (peer,) = [peer for peer in self.peers if peer.id == id]
        if method.name in peer.silent:
            raise PeerError("unavailable", f"{method.name}: connection refused")
        try:
            body = await peer.respond(method.name, request.SerializeToString())
        except MeshError as error:
            reason = "not_found" if isinstance(error, NotFoundError) else "unavailable"
            raise PeerError(reason, f"{method.name}: {error}") from None
        try:
            return method.response.FromString(body)
        except Exception as error:
            raise PeerError("unreadable", f"{method.name}: {error}") from None

    async def respond(self, name: str, request: bytes) -> bytes:
        """What this control plane responds to serialized requests of its peers."""
        if name in self.bodies:
            return self.bodies[name]
        return await self.methods[name].serve(request)


async def _nothing(_id: str) -> None:
    return None


def connected_members(count: int) -> list[FakeMembers]:
    """Control planes that all reach each other."""
    members = [FakeMembers(f"plane-{number}") for number in range(count)]
    for member in members:
        member.peers = [peer for peer in members if peer is not member]
    return members
