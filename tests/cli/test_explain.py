"""What `mesh explain` prints."""

from __future__ import annotations

from meshwright.control_plane.api.call_text import call_lines
from tests.control_plane.core.worlds import mesh, route, subset
from tests.control_plane.explain.asking import explain

POLICIES = (
    route(
        "split",
        "{backendRefs: [{group: meshwright.io, kind: Subset, name: v2}, {name: inventory, weight: 3}]}",
    )
    + subset("v2")
    + mesh(
        "Authorization", "a", "rules: [{from: [{services: [catalog]}]}]", "{kind: Service, name: inventory}"
    )
)


def test_the_way_of_a_request_as_text() -> None:
    lines = list(call_lines(explain(POLICIES).model_dump()))
    assert lines[0] == "× refused by the proxy of inventory with 403: authorization: no allow rule matches"
    assert "orders, outbound (no proxy is connected)" in lines
    assert "  75 % → inventory" in lines
    assert f"{'':20}by HTTPRoute/split (split.yaml:1)" in lines
    assert lines.index("    otherwise as above") > lines.index("  75 % → inventory")
    callee = lines.index("inventory, inbound (1 of 2 proxies have revision 1)")
    assert "  authorization   × no allow rule matches" in lines[callee:]
    assert lines[-1] == f"{'':18}by Authorization/a (a.yaml:1)"
