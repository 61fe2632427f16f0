"""Control planes for tests of what they share, without a wire between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwright.control_plane.cluster.service import MethodHandler


@dataclass
class FakeMembers:
    """One control plane's way to others: those in `others` answer at once, or not when they are `away`."""

    id: str = ""
    peers: list[FakeMembers] = field(default_factory=list)
    methods: dict[str, MethodHandler] = field(default_factory=dict)
    unreachable: bool = False

    def register_method(self, method: str, answer: MethodHandler) -> None:
        self.methods[method] = answer

    def reachable(self) -> tuple[str, ...]:
        return tuple(str(number) for number, one in enumerate(self.peers) if not one.unreachable)

    async def broadcast(self, method: str, request: bytes = b"") -> list[bytes]:
        return [await one.methods[method](request) for one in self.peers if not one.unreachable]


def connected_members(count: int) -> list[FakeMembers]:
    """Control planes that all reach each other."""
    made = [FakeMembers(f"plane-{number}") for number in range(count)]
    for one in made:
        one.peers = [other for other in made if other is not one]
    return made
