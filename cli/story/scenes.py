"""The scenes of the tour: what happens in each, what to look at, which policies do it. Pure.

All policies of the tour have names that begin with PREFIX and none replaces one of the demo, so that the mesh
is as it was once they are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PREFIX = "story-"

Action = Literal["apply", "refused", "undo", "rollback"]
"""Apply documents; try to, and be refused; delete the tour's documents; roll the last change back."""


@dataclass(frozen=True, slots=True)
class StoryBeat:
    """One step: what happens, what it does to the mesh, what to look at in `mesh dash`, and for how long.

    At its end comes a line with what the mesh measured on `edge`, a caller and its callee.
    """

    text: str
    action: Action
    look: str
    seconds: float
    documents: tuple[Mapping[str, Any], ...] = ()
    edge: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class StoryScene:
    """A part of the tour."""

    title: str
    beats: tuple[StoryBeat, ...]


def _fault(name: str, service: str, **fault: Mapping[str, Any]) -> dict[str, Any]:
    """What happens to the calls of orders to a service."""
    return {
        "apiVersion": "meshwright.io/v1",
        "kind": "FaultInjection",
        "metadata": {"name": f"{PREFIX}{name}"},
        "spec": {"targetRefs": [{"kind": "Service", "name": service}], "from": ["orders"], **fault},
    }


def _canary(weight: int, **rule: Mapping[str, str]) -> dict[str, Any]:
    """So many of a hundred calls to inventory go to its version 2."""
    backends = [
        {"group": "meshwright.io", "kind": "Subset", "name": f"inventory-{version}", "weight": share}
        for version, share in (("v1", 100 - weight), ("v2", weight))
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": f"{PREFIX}canary"},
        "spec": {
            "parentRefs": [{"kind": "Service", "group": "", "name": "inventory"}],
            "rules": [{"backendRefs": backends, **rule}],
        },
    }


def _timeout(request: str) -> dict[str, Any]:
    return {
        "apiVersion": "meshwright.io/v1",
        "kind": "Timeout",
        "metadata": {"name": f"{PREFIX}timeout"},
        "spec": {"targetRefs": [{"kind": "Service", "name": "catalog"}], "request": request},
    }


SCENES: Sequence[StoryScene] = (
    StoryScene(
        "A slow service",
        (
            StoryBeat(
                "Every call of orders to inventory now takes 800 ms longer (FaultInjection/story-slow).",
                "apply",
                "1 Topology: select orders → inventory: its p95 rises, and nothing fails. 3 Traces: a slow "
                "POST /api/orders shows which bar the time goes to.",
                40,
                (_fault("slow", "inventory", delay={"fixed": "800ms"}),),
                ("orders", "inventory"),
            ),
            StoryBeat(
                "The policy is deleted. No connection was closed, no process restarted.",
                "undo",
                "1 Topology: the p95 of orders → inventory falls within ten seconds, its window.",
                15,
                edge=("orders", "inventory"),
            ),
        ),
    ),
    StoryScene(
        "A breaker opens",
        (
            StoryBeat(
                "Orders cannot reach catalog any more (FaultInjection/story-broken), so each order ends "
                "with 503. After five in a row the ingress stops asking orders at all.",
                "apply",
                "1 Topology: ingress → orders turns red and its breaker opens; catalog serves the ingress "
                "as before. 6 Events tells when. `mesh why` in a shell explains the newest failure.",
                50,
                (_fault("broken", "catalog", abort={"status": 503}),),
                ("ingress", "orders"),
            ),
            StoryBeat(
                "The fault is gone. The sidecar tries /health/ready of orders, and lets calls through again.",
                "undo",
                "1 Topology: the breaker of ingress → orders closes within some ten seconds.",
                20,
                edge=("ingress", "orders"),
            ),
        ),
    ),
    StoryScene(
        "A bad policy is refused",
        (
            StoryBeat(
                "Somebody applies a Timeout for catalog, and forgets the unit: `request: 5`.",
                "refused",
                "4 Policies: there is no Timeout/story-timeout, and the revision is the one before. Nothing "
                "reached a sidecar. What passes these checks is shown to an Envoy before it is stored.",
                15,
                (_timeout("5"),),
            ),
        ),
    ),
    StoryScene(
        "A canary",
        (
            StoryBeat(
                "Two versions of inventory run, and share all calls. Now version 2 gets one call in ten "
                "(HTTPRoute/story-canary).",
                "apply",
                "1 Topology: v shows the versions of services apart: v2 of inventory gets a tenth of the "
                "calls.",
                30,
                (_canary(10),),
                ("orders", "inventory"),
            ),
            StoryBeat(
                "It does well, so it gets every second call.",
                "apply",
                "4 Policies: HTTPRoute/story-canary, its weights, and which sidecars have them already.",
                30,
                (_canary(50),),
                ("orders", "inventory"),
            ),
        ),
    ),
    StoryScene(
        "A rollback",
        (
            StoryBeat(
                "Then a slip: version 2 gets all calls, with a timeout of 1 ms. The policy is valid, every "
                "Envoy takes it, and it is wrong.",
                "apply",
                "1 Topology: orders → inventory turns red within seconds. 4 Policies: H lists the revisions.",
                25,
                (_canary(100, timeouts={"request": "1ms"}),),
                ("orders", "inventory"),
            ),
            StoryBeat(
                "`mesh rollback` undoes the last change: half and half again, as a new revision.",
                "rollback",
                "1 Topology: orders → inventory recovers as soon as its breaker has closed.",
                30,
                edge=("orders", "inventory"),
            ),
        ),
    ),
)


def duration(pace: float) -> float:
    """Seconds that the tour takes at a pace, without the time of the mesh itself."""
    return pace * sum(beat.seconds for scene in SCENES for beat in scene.beats)


def documents() -> list[Mapping[str, Any]]:
    """All documents of the tour."""
    return [document for scene in SCENES for beat in scene.beats for document in beat.documents]


def seen(edge: Mapping[str, Any] | None) -> str:
    """What the mesh measured on an edge of its topology, within the last ten seconds; None: no such edge."""
    if edge is None or not edge["rps"]:
        return "no requests in the last 10 s"
    success = f"{100 * edge['success']:.0f} % succeed"
    parts = [f"{edge['rps']:.1f} requests/s", success, f"p95 {edge['p95_ms']:.0f} ms"]
    if versions := edge.get("versions"):
        total = sum(version["rps"] for version in versions) or 1.0
        parts += [f"{100 * version['rps'] / total:.0f} % to {version['version']}" for version in versions]
    if edge["breaker"] not in ("none", "closed"):
        parts.append(f"breaker {edge['breaker']}")
    return ", ".join(parts)
