"""A request on its way through one proxy: what it has become, what was said about it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from meshwright.control_plane.api.models.authorization import AccessPolicy
from meshwright.control_plane.api.models.call_explanation import ExplainedRoute, ExplainedStep, Verdict
from meshwright.control_plane.core.header_changes import Headers
from meshwright.control_plane.core.route_match import RoutedRequest
from meshwright.control_plane.core.snapshot import NodeSnapshot
from meshwright.control_plane.policies.hooks import ListenerDirection

Blame = Callable[[str], AccessPolicy]
"""The policy `Kind/name` with its place and its last change."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends the request: the SPIFFE ID of its certificate (empty: none), its address.

    `claims` are those of a verified token; None: the request has no token that is known to be valid.
    """

    identity: str = ""
    address: str = "127.0.0.1"
    claims: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ExplainedProxy:
    """One proxy: what it is sent, and in which direction the request passes it.

    `policies` are those of the resource that holds its routes, where routes do not name theirs.
    """

    node: NodeSnapshot
    direction: ListenerDirection
    blame: Blame
    policies: tuple[str, ...] = ()


@dataclass(slots=True)
class Flow:
    """The state of a request behind the steps so far. `tokens` are verified claims by provider."""

    proxy: ExplainedProxy
    sender: Sender
    request: RoutedRequest
    steps: list[ExplainedStep] = field(default_factory=list)
    tokens: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    status: int = 0
    location: str = ""
    certain: bool = True

    def say(
        self,
        part: str,
        text: str,
        verdict: Verdict = "",
        *,
        refs: Iterable[str] = (),
        details: Iterable[str] = (),
    ) -> None:
        """Add a step. `refs`: `Kind/name` of the policies that decided it."""
        policies = tuple(self.proxy.blame(ref) for ref in dict.fromkeys(refs))
        step = ExplainedStep(part=part, text=text, verdict=verdict, details=tuple(details), policies=policies)
        self.steps.append(step)
        if verdict == "may refuse":
            self.certain = False

    def respond(self, status: int, location: str = "") -> None:
        """Let the proxy respond itself."""
        self.status, self.location = status, location

    def set_headers(self, headers: Headers) -> None:
        """Go on with other headers."""
        self.request = replace(self.request, headers=headers)

    def explained(
        self, *, share: float = 1.0, name: str = "", position: int = -1, cluster: str = ""
    ) -> ExplainedRoute:
        """What has become of the request."""
        return ExplainedRoute(
            share=share,
            name=name,
            position=position,
            cluster=cluster,
            status=self.status,
            location=self.location,
            certain=self.certain,
            method=self.request.method,
            host=self.request.host,
            path=self.request.path,
            headers=tuple(self.request.headers),
            steps=tuple(self.steps),
        )

    def text(self, command: str) -> str:
        """The text of one of Envoy's commands for this request; what only Envoy knows stays a command."""
        name, _, argument = command.partition("(")
        if name == "REQ":
            names = argument.rstrip(")").split("?")
            return next((self.request.header(item.lower()) or "" for item in names), "")
        if name in _ADDRESSES:
            return self.sender.address
        if name == "DOWNSTREAM_PEER_URI_SAN":
            return self.sender.identity
        return f"%{name}%"


_ADDRESSES = frozenset(
    {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"}
)


def header_details(before: Headers, after: Headers) -> list[str]:
    """What became of headers, a line each: `+ name: value`, `- name: value`."""
    return [
        *(f"- {name}: {value}" for name, value in before if (name, value) not in after),
        *(f"+ {name}: {value}" for name, value in after if (name, value) not in before),
    ]
