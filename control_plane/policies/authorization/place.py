"""Where rules are enforced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Place:
    """What is known at one route, or at one TCP port, before a call arrives.

    `port`: the name of the service's port; empty at a gateway. `tokens`: the keys under which the JWT filter
    there keeps the claims of verified tokens, `POLICY/ISSUER`.
    """

    gateway: bool = False
    port: str = ""
    tokens: tuple[str, ...] = ()
    protocol: Literal["http", "tcp"] = "http"
