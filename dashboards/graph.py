"""The topology as a node graph, from Prometheus alone.

Grafana's panel takes a frame with a field `source` for edges and any other for nodes; it reads the fields
`id`, `title`, `mainstat`, `secondarystat`, `source`, `target`, and `arc__` shares of each node's ring. An
instant query answers one frame, its labels and its value as fields. So labels are made in PromQL, each value
is copied to a field of the name that the panel looks for, and the frames of nodes and those of edges are
joined by `id`. Grafana's renaming would not do: it changes what a field is shown as, and the panel asks for
names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import nodegraph
from grafana_foundation_sdk.models import dashboard as models

from meshwright.dashboards.parts import BAD, GOOD, METRICS, Panel, link, query, transformation

_CALLS = "mesh:edge_requests:rate1m"


def _edge(expr: str) -> str:
    """With `id`: Grafana joins a node's frames by it, and an edge's."""
    return f'sum by (id) (label_join({expr}, "id", " ", "service", "callee"))'


def _node(expr: str, label: str) -> str:
    return f'sum by (id) (label_replace({expr}, "id", "$1", "{label}", "(.*)"))'


def _either(called: str, calls: str) -> str:
    """Of who is called what calls to it are; of gateways and others that nobody calls, what they make."""
    return f"{called} or {calls}"


RATE = _either(_node(_CALLS, "callee"), _node(_CALLS, "service"))
FAILED = _either(_node("mesh:edge_failures:rate1m", "callee"), _node("mesh:edge_failures:rate1m", "service"))
FAILED_SHARE = f"(({FAILED}) or ({RATE}) * 0) / (({RATE}) > 0)"

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
"""Queries by name: PromQL, and the field that its value becomes."""


def _copied(name: str, field: str) -> models.DataTransformerConfig:
    """A query's value once more, under a name of its own."""
    textses = {"include": [f"Value #{name}"], "reducer": "last"}
    options = {"mode": "reduceRow", "reduce": textses, "alias": field, "replaceFields": False}
    return transformation("calculateField", options, name)


@dataclass(frozen=True, slots=True)
class Topology(Panel):
    """The panel. `links` are of each node."""

    title: str
    words: str
    links: Sequence[tuple[str, str]]

    def build(self) -> models.Panel:
        """Nodes with calls a second, p99 and a ring of failures; edges with calls a second and success."""
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
            .description(self.words)
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
