"""Services as groups: which groupings there are, and what a group's node and edges sum up."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.topology import Topology
from meshwright.tui.graph.density import fit_layout
from meshwright.tui.graph.groups import NAME_PREFIX, group_topology, groupings
from meshwright.tui.graph.layout import order_graph
from meshwright.tui.graph.viewport import GraphFilter, SeenLinks, visible_graph
from tests.fakes.fixture_parts import edge, node
from tests.fakes.scenarios import TEAMS, crowded

SHOP = {"shop-web": "shop", "shop-api": "shop", "pay-api": "pay"}
CALLS = Topology(
    nodes=(
        node("ingress"),
        node("shop-web"),
        node("shop-api", "degraded", 1, 2),
        node("pay-api"),
        node("mail"),
    ),
    edges=(
        edge("ingress", "shop-web", 30, 1.0, 40),
        edge("ingress", "shop-api", 10, 0.8, 502, breaker="open", ejected=1),
        edge("shop-web", "shop-api", 30),
        edge("shop-api", "mail", 5, 1.0, 7),
        edge("mail", "mail", 1),
    ),
)


def test_a_group_sums_up_its_services_and_their_calls() -> None:
    grouped = group_topology(CALLS, SHOP)
    assert grouped.groups == {"shop (2)": "shop"}
    assert grouped.members == {"shop (2)": ("shop-api", "shop-web")}
    nodes = {each.name: each for each in grouped.topology.nodes}
    assert set(nodes) == {"ingress", "shop (2)", "pay-api", "mail"}
    shop = nodes["shop (2)"]
    assert (shop.health, shop.healthy) == ("degraded", 2) and shop.instances == 3
    edges = {(each.from_, each.to): each for each in grouped.topology.edges}
    assert set(edges) == {("ingress", "shop (2)"), ("shop (2)", "mail"), ("mail", "mail")}
    calls = edges["ingress", "shop (2)"]
    assert (calls.rps, calls.p99_ms, calls.breaker, calls.ejected) == (40, 502, "open", 1)
    assert calls.success == pytest.approx(0.95)
    assert edges["shop (2)", "mail"].p99_ms == 7


def test_an_expanded_group_is_as_without_grouping() -> None:
    grouped = group_topology(CALLS, SHOP, frozenset({"shop"}))
    assert not grouped.groups
    assert grouped.topology == CALLS


def test_services_are_grouped_by_labels_of_all_their_instances_or_by_name() -> None:
    labelled = [
        ("orders", {"team": "shop", "version": "v1"}),
        ("orders", {"team": "shop", "version": "v2"}),
        ("catalog", {"team": "shop", "version": "v1"}),
        ("ledger", {"team": "pay", "version": "v1"}),
    ]
    options = groupings(["orders", "catalog", "ledger"], labelled)
    assert options == {
        "team": {"orders": "shop", "catalog": "shop", "ledger": "pay"},
        "version": {"catalog": "v1", "ledger": "v1"},
    }
    assert groupings(["a-x", "a-y", "b-x"], ()) == {NAME_PREFIX: {"a-x": "a", "a-y": "a", "b-x": "b"}}
    assert groupings(["a-x", "a-y"], ()) == {}, "one group of everything says nothing"
    assert groupings(["a-x", "b-y"], ()) == {}, "groups of one say nothing"


def test_sixty_services_with_two_hundred_edges_are_legible_as_groups() -> None:
    topology = crowded().topology
    by_team = groupings([each.name for each in topology.nodes], ())[NAME_PREFIX]
    grouped = group_topology(topology, by_team).topology
    assert {each.name for each in grouped.nodes} == {"ingress", *(f"{team} (10)" for team in TEAMS)}
    graph = visible_graph(grouped, SeenLinks().updated(grouped), GraphFilter())
    layout = fit_layout(order_graph(graph), 160, 40)
    assert layout.width <= 160 and layout.height <= 40
    each = visible_graph(topology, SeenLinks().updated(topology), GraphFilter())
    assert fit_layout(order_graph(each), 160, 40).width > 160
