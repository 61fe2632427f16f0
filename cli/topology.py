"""`mesh topology`: the service graph, with the rate, success and latency of each edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import AllOption, Output, StateOption
from meshwright.cli.output import echo, print_data, print_table, sanitize, status_text
from meshwright.cli.status import BREAKER_LEVELS, HEALTH_LEVELS
from meshwright.control_plane.api import calls

NO_TRAFFIC = "no traffic in the last minute: send some, for example with `mesh demo --traffic 5`"

EDGE_HEADER = (
    "FROM", "TO", "PROTOCOL", "RPS", "SUCCESS", "P50", "P95", "P99", "RETRIES/S", "BREAKER", "MTLS",
)  # fmt: skip

_COLOURS = {
    "healthy": "#2e7d32",
    "degraded": "#f9a825",
    "unhealthy": "#c62828",
    "unknown": "#757575",
    "idle": "#757575",
}


class TopologyFormat(StrEnum):
    """The output formats of the graph."""

    table = "table"
    json = "json"
    yaml = "yaml"
    dot = "dot"
    mermaid = "mermaid"


TopologyOutputOption = Annotated[
    TopologyFormat, typer.Option("--output", "-o", help="Output format; dot is Graphviz.")
]


def topology(
    output: TopologyOutputOption = TopologyFormat.table,
    show_all: AllOption = False,
    state: StateOption = None,
) -> None:
    """Show services, gateways, and the requests between them over the last 10 seconds.

    An edge stays for a minute after its last request. Latency is what callers wait: retries, injected
    delays and timeouts included. Idle services are hidden.

    \b
    Symbols: ● good · ▲ degraded · × failing · ○ unknown

    \b
    Example:
      mesh topology
      mesh topology -o mermaid
      mesh topology -o dot | dot -Tsvg > mesh.svg
    """
    graph = call_api(calls.topology(), state)
    if not show_all:
        called = {edge["to"] for edge in graph["edges"]} | {edge["from"] for edge in graph["edges"]}
        nodes = [node for node in graph["nodes"] if node["health"] != "idle" or node["name"] in called]
        graph = {**graph, "nodes": nodes}
    if output in (TopologyFormat.json, TopologyFormat.yaml):
        print_data(graph, Output(output.value))
    elif output is TopologyFormat.dot:
        echo("\n".join(map(sanitize, dot(graph))))
    elif output is TopologyFormat.mermaid:
        echo("\n".join(map(sanitize, mermaid(graph))))
    else:
        _print_tables(graph)


def dot(graph: Mapping[str, Any]) -> Iterable[str]:
    """The graph in the DOT language of Graphviz."""
    yield "digraph mesh {"
    yield '  rankdir=LR; node [shape=box, style="rounded", fontname="sans-serif"];'
    for node in graph["nodes"]:
        yield f'  "{node["name"]}" [color="{_COLOURS[node["health"]]}"];'
    for edge in graph["edges"]:
        dashed = "" if edge["mtls"] else ", style=dashed"
        yield f'  "{edge["from"]}" -> "{edge["to"]}" [label="{_edge_label(edge)}"{dashed}];'
    yield "}"


def mermaid(graph: Mapping[str, Any]) -> Iterable[str]:
    """The graph in the language of Mermaid. Names get the prefix `n_`, since some are keywords."""
    yield "flowchart LR"
    for node in graph["nodes"]:
        yield f'  n_{node["name"]}["{node["name"]}"]:::{node["health"]}'
    for edge in graph["edges"]:
        arrow = "-->" if edge["mtls"] else "-.->"
        yield f'  n_{edge["from"]} {arrow}|"{_edge_label(edge)}"| n_{edge["to"]}'
    for health, colour in _COLOURS.items():
        yield f"  classDef {health} stroke:{colour}"


def _edge_label(edge: Mapping[str, Any]) -> str:
    label = f"{edge['rps']:.1f}/s, {format_percent(edge['success'])}"
    return label if edge["protocol"] == "tcp" else f"{label}, p99 {edge['p99_ms']:.0f} ms"


def _print_tables(graph: Mapping[str, Any]) -> None:
    nodes = [(node["name"], node["role"], _health(node), _instances(node)) for node in graph["nodes"]]
    print_table(("NODE", "ROLE", "HEALTH", "INSTANCES"), nodes)
    echo("")
    if not graph["edges"]:
        echo(NO_TRAFFIC)
        return
    print_table(EDGE_HEADER, [edge_row(edge) for edge in graph["edges"]])


def edge_row(edge: Mapping[str, Any]) -> tuple[str, ...]:
    """An edge as a row of the table. The sign of SUCCESS is the health that the control plane computed."""
    return (
        edge["from"],
        edge["to"],
        edge["protocol"],
        f"{edge['rps']:.1f}/s",
        status_text(HEALTH_LEVELS.get(edge["health"], "off"), format_percent(edge["success"]))
        if edge["rps"] > 0
        else "-",
        *(format_latency(edge[name]) for name in ("p50_ms", "p95_ms", "p99_ms")),
        f"{edge['retries_per_s']:.1f}/s",
        _breaker(edge),
        "yes" if edge["mtls"] else status_text("partial", "no"),
    )


def _health(node: Mapping[str, Any]) -> str:
    return status_text(HEALTH_LEVELS.get(node["health"], "off"), node["health"])


def _instances(node: Mapping[str, Any]) -> str:
    return "-" if node["role"] != "service" else f"{node['healthy']}/{node['instances']}"


def format_percent(ratio: float) -> str:
    """A percentage that is never rounded up to 100: one failure in a million stays visible."""
    return "100 %" if ratio >= 1 else f"{min(ratio * 100, 99.99):.2f} %"


def format_latency(ms: float) -> str:
    if ms <= 0:
        return "-"
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.1f} ms"


def _breaker(edge: Mapping[str, Any]) -> str:
    if edge["breaker"] == "none":
        return "-"
    if edge["breaker"] == "closed" and not edge["ejected"]:
        return "closed"
    ejected = f" ({edge['ejected']} ejected)" if edge["ejected"] else ""
    return status_text(BREAKER_LEVELS.get(edge["breaker"], "bad"), f"{edge['breaker']}{ejected}")
