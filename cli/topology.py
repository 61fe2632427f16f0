"""`mesh topology`: who calls whom, how much, how well, how fast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, StateOption
from meshwright.cli.output import Level
from meshwright.control_plane.api import calls

HEALTH_LEVELS: dict[str, Level] = {
    "healthy": "good",
    "degraded": "partial",
    "unhealthy": "bad",
    "unknown": "off",
}

BREAKER_LEVELS: dict[str, Level] = {"closed": "good", "partial": "partial", "open": "bad"}

GOOD, POOR = 0.995, 0.95
"""Success shares from which an edge is shown as good, and below which as failing."""

NO_TRAFFIC = "no traffic within the last minute: send some, as with `mesh demo --traffic 20`, and look again"

_COLOURS = {"healthy": "#2e7d32", "degraded": "#f9a825", "unhealthy": "#c62828", "unknown": "#757575"}


class TopologyFormat(StrEnum):
    """How a graph is printed."""

    table = "table"
    json = "json"
    yaml = "yaml"
    dot = "dot"
    mermaid = "mermaid"


TopologyOutputOption = Annotated[
    TopologyFormat, typer.Option("--output", "-o", help="table, json, yaml, dot (Graphviz) or mermaid.")
]


def topology(output: TopologyOutputOption = TopologyFormat.table, state: StateOption = None) -> None:
    """Show services and gateways, and the calls between them over the last 10 seconds.

    An edge stays for a minute after its last call. Latency is that of whole requests with their retries.

    \b
    Signs: ● good · ◐ partly · ✖ failing · ○ nothing is known

    \b
    Example:
      mesh topology
      mesh topology -o mermaid
      mesh topology -o dot | dot -Tsvg > mesh.svg
    """
    found = call_api(calls.topology(), state)
    if output in (TopologyFormat.json, TopologyFormat.yaml):
        output_module.print_data(found, Output(output.value))
    elif output is TopologyFormat.dot:
        output_module.echo("\n".join(dot(found)))
    elif output is TopologyFormat.mermaid:
        output_module.echo("\n".join(mermaid(found)))
    else:
        _table(found)


def dot(found: Mapping[str, Any]) -> Iterable[str]:
    """The graph in Graphviz's language."""
    yield "digraph mesh {"
    yield '  rankdir=LR; node [shape=box, style="rounded", fontname="sans-serif"];'
    for node in found["nodes"]:
        yield f'  "{node["name"]}" [color="{_COLOURS[node["health"]]}"];'
    for edge in found["edges"]:
        dashed = "" if edge["mtls"] else ", style=dashed"
        yield f'  "{edge["from"]}" -> "{edge["to"]}" [label="{_edge_label(edge)}"{dashed}];'
    yield "}"


def mermaid(found: Mapping[str, Any]) -> Iterable[str]:
    """The graph in Mermaid's language; names of the mesh need `n_` before them, for some are its keywords."""
    yield "flowchart LR"
    for node in found["nodes"]:
        yield f'  n_{node["name"]}["{node["name"]}"]:::{node["health"]}'
    for edge in found["edges"]:
        arrow = "-->" if edge["mtls"] else "-.->"
        yield f'  n_{edge["from"]} {arrow}|"{_edge_label(edge)}"| n_{edge["to"]}'
    for health, colour in _COLOURS.items():
        yield f"  classDef {health} stroke:{colour}"


def _edge_label(edge: Mapping[str, Any]) -> str:
    words = f"{edge['rps']:.1f}/s, {_percent(edge['success'])}"
    return words if edge["protocol"] == "tcp" else f"{words}, p99 {edge['p99_ms']:.0f} ms"


def _table(found: Mapping[str, Any]) -> None:
    nodes = [(node["name"], node["role"], _health(node), _instances(node)) for node in found["nodes"]]
    output_module.print_table(("NODE", "ROLE", "HEALTH", "INSTANCES"), nodes)
    output_module.echo("")
    if not found["edges"]:
        output_module.echo(NO_TRAFFIC)
        return
    head = (
        "FROM", "TO", "PROTOCOL", "RATE", "SUCCESS", "P50", "P95", "P99", "RETRIES", "BREAKER", "MTLS",
    )  # fmt: skip
    output_module.print_table(head, [edge_row(edge) for edge in found["edges"]])


def edge_row(edge: Mapping[str, Any]) -> tuple[str, ...]:
    """An edge as the table shows it."""
    answered = edge["rps"] > 0
    return (
        edge["from"],
        edge["to"],
        edge["protocol"],
        f"{edge['rps']:.1f}/s",
        _success(edge["success"]) if answered else "-",
        *(_latency(edge[name]) for name in ("p50_ms", "p95_ms", "p99_ms")),
        f"{edge['retries_per_s']:.1f}/s",
        _breaker(edge),
        "yes" if edge["mtls"] else output_module.status_text("partial", "no"),
    )


def _health(node: Mapping[str, Any]) -> str:
    return output_module.status_text(HEALTH_LEVELS.get(node["health"], "off"), node["health"])


def _instances(node: Mapping[str, Any]) -> str:
    return "-" if node["role"] == "gateway" else f"{node['healthy']}/{node['instances']}"


def _success(share: float) -> str:
    level: Level = "good" if share >= GOOD else "partial" if share >= POOR else "bad"
    return output_module.status_text(level, _percent(share))


def _percent(share: float) -> str:
    """Never rounded up to a whole: one failure in a million is a failure."""
    return "100 %" if share >= 1 else f"{min(share * 100, 99.99):.2f} %"


def _latency(ms: float) -> str:
    if ms <= 0:
        return "-"
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.1f} ms"


def _breaker(edge: Mapping[str, Any]) -> str:
    if edge["breaker"] == "closed" and not edge["ejected"]:
        return "closed"
    left_out = f" ({edge['ejected']} left out)" if edge["ejected"] else ""
    return output_module.status_text(
        BREAKER_LEVELS.get(edge["breaker"], "bad"), f"{edge['breaker']}{left_out}"
    )
