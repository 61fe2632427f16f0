"""Control planes for tests of what they share, without a wire between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from control_plane.peers.server import Answer


@dataclass
class Reached:
    """One control plane's way to others: those in `others` answer at once, or not when they are `away`."""

    id: str = ""
    others: list[Reached] = field(default_factory=list)
    served: dict[str, Answer] = field(default_factory=dict)
    away: bool = False

    def answers(self, method: str, answer: Answer) -> None:
        self.served[method] = answer

    def answering(self) -> tuple[str, ...]:
        return tuple(str(number) for number, one in enumerate(self.others) if not one.away)

    async def everyone(self, method: str, request: bytes = b"") -> list[bytes]:
        return [await one.served[method](request) for one in self.others if not one.away]


def connected(count: int) -> list[Reached]:
    """Control planes that all reach each other."""
    made = [Reached(f"plane-{number}") for number in range(count)]
    for one in made:
        one.others = [other for other in made if other is not one]
    return made
