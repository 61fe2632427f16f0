"""The service graph as Grafana's node graph, from Prometheus alone.

Grafana's panel takes a frame with a field `source` as edges and any other frame as nodes. It reads the
fields `id`, `title`, `mainstat`, `secondarystat`, `source` and `target`, and `arc__` fields as shares of a
node's ring. An instant query returns one frame with its labels and its value as fields. So PromQL creates
the labels, each value is copied to a field with the name that the panel expects, and the frames are joined
by `id`. Grafana's rename transformation does not help: it changes the displayed name, and the panel reads
the original one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import nodegraph
from grafana_foundation_sdk.models import dashboard as models

from meshwright.dashboards.parts import BAD, GOOD, METRICS, Panel, link, query, transformation

_CALLS = "mesh:edge_requests:rate1m"


def _edge(expr: str) -> str:
    """The expression by edge `id`, by which Grafana joins frames."""
    return f'sum by (id) (label_join({expr}, "id", " ", "service", "callee"))'


def _node(expr: str, label: str) -> str:
    return f'sum by (id) (label_replace({expr}, "id", "$1", "{label}", "(.*)"))'


def _either(called: str, calls: str) -> str:
    """Requests to a node; for gateways and others that nobody calls, the requests they send."""
    return f"{called} or {calls}"


RATE = _either(_node(_CALLS, "callee"), _node(_CALLS, "service"))
FAILED = _either(_node("mesh:edge_failures:rate1m", "callee"), _node("mesh:edge_failures:rate1m", "service"))
FAILED_SHARE = f"clamp_max((({FAILED}) or ({RATE}) * 0) / (({RATE}) > 0), 1)"

FIELDS: Mapping[str, tuple[str, str]] = {
    "nodes": (f'label_replace({RATE}, "title", "$1", "id", "(.*)")', "mainstat"),
    "nodes_p99": (
        "histogram_quantile(0.99, sum by (id, le) (label_replace("
        'mesh:edge_latency_milliseconds_bucket:rate1m, "id", "$1", "callee", "(.*)")))',
        "secondarystat",
    ),
    "nodes_failed": (FAILED_SHARE, "arc__failed"),
    "nodes_good": (f"1 - ({FAILED_SHARE})", "arc__good"),
    "edges": (
        "sum by (id, source, target) (label_replace(label_replace(label_join("
        f'{_CALLS}, "id", " ", "service", "callee"), "source", "$1", "service", "(.*)"), '
        '"target", "$1", "callee", "(.*)"))',
        "mainstat",
    ),
    "edges_success": (_edge("mesh:edge_success:ratio1m"), "secondarystat"),
}
"""Queries by name: PromQL, and the field that gets its value."""


def _copied(name: str, field: str) -> models.DataTransformerConfig:
    """Copy a query's value to a field with another name."""
    textses = {"include": [f"Value #{name}"], "reducer": "last"}
    options = {"mode": "reduceRow", "reduce": textses, "alias": field, "replaceFields": False}
    return transformation("calculateField", options, name)


@dataclass(frozen=True, slots=True)
class ServiceGraphPanel(Panel):
    """The panel. `links` belong to each node."""

    title: str
    description: str
    links: Sequence[tuple[str, str]]

    def build(self) -> models.Panel:
        """Nodes with requests/s, p99 and a ring of failures; edges with requests/s and success rate."""
        flags = dict.fromkeys(("Time", *(f"Value #{name}" for name in FIELDS)), True)
        tidy = {"excludeByName": flags, "indexByName": {}, "renameByName": {}}
        joined = {"byField": "id", "mode": "outer"}
        arcs = [
            nodegraph.ArcOption().field("arc__failed").color(BAD),
            nodegraph.ArcOption().field("arc__good").color(GOOD),
        ]
        targets = [query(expr, "", name, now=True) for name, (expr, _) in FIELDS.items()]
        return (
            nodegraph.Panel()
            .title(self.title)
            .description(self.description)
            .datasource(METRICS)
            .unit("reqps")
            .span(24)
            .height(14)
            .targets([*targets])
            .transformations([*(_copied(name, field) for name, (_, field) in FIELDS.items())])
            .with_transformation(transformation("organize", tidy))
            .with_transformation(transformation("joinByField", joined, "nodes.*"))
            .with_transformation(transformation("joinByField", joined, "edges.*"))
            .nodes(nodegraph.NodeOptions().main_stat_unit("reqps").secondary_stat_unit("ms").arcs([*arcs]))
            .edges(nodegraph.EdgeOptions().main_stat_unit("reqps").secondary_stat_unit("percentunit"))
            .override_by_name(
                "id", [models.DynamicConfigValue("links", [link(*texts).build() for texts in self.links])]
            )
            .build()
        )
