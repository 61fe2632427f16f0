"""`mesh proxy NAME routes` and its like: parts of Envoy's configuration as tables, and which rows of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from meshwright.cli.proxy_tables.dump import address_text, cluster_shares, resources
from meshwright.cli.proxy_tables.routes import route_rows
from meshwright.cli.proxy_tables.tables import proxy_table
from meshwright.control_plane.api.models.commands import ProxyConfig
from tests.cli.conftest import RunMesh
from tests.fakes.admin_server import FakeMesh
from tests.fakes.pki import Pki

ADMIN = "type.googleapis.com/envoy.admin.v3"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def socket_address(port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def http(route: dict[str, Any]) -> dict[str, Any]:
    """The filters of a chain for HTTP."""
    return {"filters": [{"name": "hcm", "typed_config": route}]}


LISTENERS = {
    "@type": f"{ADMIN}.ListenersConfigDump",
    "version_info": "7",
    "dynamic_listeners": [
        {
            "name": "inbound",
            "active_state": {
                "version_info": "a1",
                "listener": {
                    "name": "inbound",
                    "address": socket_address(15006),
                    "filter_chains": [
                        {
                            "filter_chain_match": {"transport_protocol": "tls", "server_names": ["a", "b"]},
                            **http({"rds": {"route_config_name": "in"}}),
                        },
                        {
                            "filter_chain_match": {
                                "direct_source_prefix_ranges": [
                                    {"address_prefix": "127.0.0.0", "prefix_len": 8}
                                ]
                            },
                            "filters": [
                                {"name": "rbac"},
                                {"name": "tcp", "typed_config": {"cluster": "/app/tcp"}},
                            ],
                        },
                    ],
                    "default_filter_chain": http({"route_config": {"name": "refuse"}}),
                },
            },
            "error_state": {
                "failed_configuration": {"name": "inbound", "address": socket_address(1)},
                "details": "bad",
            },
        }
    ],
    "static_listeners": [
        {
            "listener": {
                "name": "metrics",
                "address": {"pipe": {"path": "metrics.sock"}},
                "filter_chains": [{}],
            }
        }
    ],
}
ROUTES = {
    "@type": f"{ADMIN}.RoutesConfigDump",
    "dynamic_route_configs": [
        {
            "version_info": "b1",
            "route_config": {
                "name": "out",
                "virtual_hosts": [
                    {
                        "name": "inventory",
                        "domains": ["inventory", "inventory:80"],
                        "retry_policy": {"num_retries": 2},
                        "routes": [
                            {
                                "name": "canary",
                                "match": {
                                    "prefix": "/api",
                                    "headers": [
                                        {"name": ":method", "string_match": {"exact": "GET"}},
                                        {"name": "x-beta", "string_match": {"exact": "yes"}},
                                        {"name": "x-old", "present_match": False},
                                    ],
                                },
                                "route": {
                                    "weighted_clusters": {
                                        "clusters": [
                                            {"name": "inventory", "weight": 90},
                                            {"name": "inventory/v2", "weight": 10},
                                        ]
                                    },
                                    "timeout": "2s",
                                },
                                "typed_per_filter_config": {"fault": {}},
                            },
                            {"match": {"prefix": "/"}, "route": {"cluster": "inventory"}},
                        ],
                    }
                ],
            },
        }
    ],
}
CLUSTERS = {
    "@type": f"{ADMIN}.ClustersConfigDump",
    "static_clusters": [{"cluster": {"name": "/app/http", "type": "STATIC"}}],
    "dynamic_active_clusters": [
        {
            "version_info": "c1",
            "cluster": {
                "name": "inventory",
                "type": "EDS",
                "lb_policy": "LEAST_REQUEST",
                "connect_timeout": "1s",
                "transport_socket": {
                    "typed_config": {
                        "@type": f"{TLS}.UpstreamTlsContext",
                        "sni": "http.inventory.mesh",
                        "common_tls_context": {
                            "tls_certificate_sds_secret_configs": [{"name": "identity"}],
                            "combined_validation_context": {
                                "default_validation_context": {
                                    "match_typed_subject_alt_names": [
                                        {"san_type": "URI", "matcher": {"exact": "spiffe://mesh/inventory"}}
                                    ]
                                }
                            },
                        },
                    }
                },
            },
        }
    ],
    "dynamic_warming_clusters": [{"version_info": "c2", "cluster": {"name": "late", "type": "EDS"}}],
}
ENDPOINTS = {
    "@type": f"{ADMIN}.EndpointsConfigDump",
    "dynamic_endpoint_configs": [
        {
            "endpoint_config": {
                "cluster_name": "inventory",
                "endpoints": [
                    {
                        "locality": {"region": "eu", "zone": "a"},
                        "priority": 1,
                        "lb_endpoints": [
                            {
                                "endpoint": {"address": socket_address(4001, "10.0.0.1")},
                                "health_status": "UNHEALTHY",
                                "load_balancing_weight": 3,
                            },
                            {"endpoint": {"address": socket_address(4002, "::1")}},
                        ],
                    }
                ],
            }
        }
    ],
}


def secrets() -> dict[str, Any]:
    """An SVID and its bundle as Envoy shows them, and a root as bytes, and a damaged one."""
    pki = Pki()
    signed, _ = pki.svid("orders")
    domain = {"name": "mesh.local", "trust_bundle": {"inline_string": signed.bundle}}
    roots = base64.b64encode(pki.roots).decode()
    contents: list[dict[str, Any]] = [
        {"name": "identity", "tls_certificate": {"certificate_chain": {"inline_string": signed.certificate}}},
        {
            "name": "bundle",
            "validation_context": {"custom_validator_config": {"typed_config": {"trust_domains": [domain]}}},
        },
        {"name": "roots", "validation_context": {"trusted_ca": {"inline_bytes": roots}}},
        {"name": "damaged", "tls_certificate": {"certificate_chain": {"inline_string": "no PEM"}}},
    ]
    return {
        "@type": f"{ADMIN}.SecretsConfigDump",
        "dynamic_active_secrets": [{"name": item["name"], "secret": item} for item in contents],
    }


DUMP = (CLUSTERS, LISTENERS, ROUTES, ENDPOINTS)


def shown(name: str, *, wide: bool = False, text: str = "") -> list[tuple[str, ...]]:
    table = proxy_table(name)
    rows = [table.cells(row, 0.0, wide=wide) for row in table.select(DUMP, text)]
    return [table.header(wide=wide), *rows]


def test_a_listener_has_a_row_for_each_chain_and_shows_what_was_rejected() -> None:
    assert shown("listeners") == [
        ("NAME", "ADDRESS", "MATCH", "DESTINATION", "STATUS"),
        ("metrics", "metrics.sock", "all", "-", "static"),
        ("inbound", "127.0.0.1:15006", "tls SNI a,b", "route in", "active"),
        ("inbound", "127.0.0.1:15006", "peer 127.0.0.0/8", "cluster /app/tcp", "active"),
        ("inbound", "127.0.0.1:15006", "no other chain", "inline route refuse", "active"),
        ("inbound", "127.0.0.1:1", "-", "-", "rejected"),
    ]
    assert shown("listeners", wide=True, text="15006")[2][5:] == ("rbac,tcp", "a1")


def test_routes_are_in_the_order_of_matching_with_weights() -> None:
    assert shown("routes") == [
        ("NAME", "HOST", "MATCH", "DESTINATION"),
        ("out", "inventory", "GET /api* x-beta=yes no x-old", "inventory 90%, inventory/v2 10%"),
        ("out", "inventory", "/*", "inventory"),
    ]
    assert shown("routes", wide=True)[1][4:] == (
        "canary", "inventory,inventory:80", "2s", "2", "fault", "b1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("route", "match", "destination"),
    [
        ({"match": {"path": "/a"}, "redirect": {"https_redirect": True}}, "= /a", "redirect https://*"),
        (
            {"match": {"safe_regex": {"regex": "a+"}}, "redirect": {"path_redirect": "/b"}},
            "~ a+",
            "redirect /b",
        ),
        (
            {
                "match": {"path_separated_prefix": "/a"},
                "redirect": {"host_redirect": "b", "port_redirect": 8},
            },
            "/a*",
            "redirect ://b:8",
        ),
        (
            {
                "match": {
                    "prefix": "/",
                    "query_parameters": [{"name": "q", "string_match": {"prefix": "x"}}],
                },
                "direct_response": {"status": 404},
            },
            "/* ?q^=x",
            "response 404",
        ),
        (
            {
                "match": {
                    "connect_matcher": {},
                    "headers": [
                        {"name": "h", "invert_match": True, "string_match": {"safe_regex": {"regex": "z"}}}
                    ],
                },
                "route": {"cluster_header": "to"},
            },
            "CONNECT !h~z",
            "cluster named by header to",
        ),
    ],
)
def test_every_form_of_a_route(route: dict[str, Any], match: str, destination: str) -> None:
    hosts = [{"name": "host", "routes": [route]}]
    dump = {
        "@type": f"{ADMIN}.RoutesConfigDump",
        "static_route_configs": [{"route_config": {"virtual_hosts": hosts}}],
    }
    [row] = route_rows([dump])
    assert (row["match"], row["destination"], row["status"]) == (match, destination, "static")


def test_long_cells_are_complete_only_in_a_wide_table() -> None:
    table, row = proxy_table("endpoints"), {"cluster": "c" * 61, "address": "a", "health": "h", "weight": 1}
    assert table.cells(row, 0.0, wide=False) == ("c" * 59 + "…", "a", "h", "1")
    assert table.cells({**row, "priority": 0, "locality": ""}, 0.0, wide=True)[0] == "c" * 61


def test_clusters_show_how_connections_are_secured() -> None:
    assert shown("clusters") == [
        ("NAME", "TYPE", "POLICY", "TLS", "STATUS"),
        ("/app/http", "STATIC", "ROUND_ROBIN", "-", "static"),
        ("inventory", "EDS", "LEAST_REQUEST", "mTLS", "active"),
        ("late", "EDS", "ROUND_ROBIN", "-", "warming"),
    ]
    assert shown("clusters", wide=True, text="inv")[1][5:] == (
        "http.inventory.mesh", "spiffe://mesh/inventory", "1s", "c1",
    )  # fmt: skip


def test_endpoints_have_a_health_and_are_found_by_cluster_or_address() -> None:
    assert shown("endpoints", wide=True) == [
        ("CLUSTER", "ADDRESS", "HEALTH", "WEIGHT", "PRIORITY", "LOCALITY"),
        ("inventory", "10.0.0.1:4001", "unhealthy", "3", "1", "eu/a"),
        ("inventory", "[::1]:4002", "unknown", "1", "1", "eu/a"),
    ]
    assert shown("endpoints", text="4002")[1:] == [("inventory", "[::1]:4002", "unknown", "1")]


def test_certificates_are_read_from_secrets() -> None:
    rows = proxy_table("certs").select([secrets()], "")
    assert [(row["name"], row["use"], row["subject"]) for row in rows] == [
        ("identity", "certificate", "spiffe://mesh.local/service/orders"),
        ("bundle", "trusted", "spiffe://mesh.local"),
        ("roots", "trusted", "spiffe://mesh.local"),
    ]
    table = proxy_table("certs")
    assert table.cells(rows[0], rows[0]["expires"] - 3600, wide=False)[3] == "expires in 60m"


def test_an_empty_or_unknown_dump_has_no_rows() -> None:
    configs = [{"@type": f"{ADMIN}.ListenersConfigDump"}, {"@type": f"{ADMIN}.ScopedRoutesConfigDump"}, {}]
    for name in ("listeners", "routes", "clusters", "endpoints", "certs"):
        assert proxy_table(name).select(configs, "") == []
    assert list(resources([{**LISTENERS, "dynamic_listeners": [{}], "static_listeners": []}], "x", "y")) == []
    assert address_text({"envoy_internal_address": {"server_listener_name": "trial"}}) == "trial"
    assert cluster_shares({"weighted_clusters": {"clusters": [{"name": "a"}]}}) == ["a 0%"]


async def test_the_command_prints_a_table_or_items(mesh: FakeMesh, run: RunMesh) -> None:
    config = ProxyConfig(proxy="orders-1", configs=(*DUMP, secrets()))
    mesh.replies = {"config": config.model_dump_json()}
    wide = await run("proxy", "orders-1", "endpoints", "--name", "inv", "-o", "wide")
    assert [" ".join(line.split()) for line in wide.out.splitlines()] == [
        "CLUSTER ADDRESS HEALTH WEIGHT PRIORITY LOCALITY",
        "inventory 10.0.0.1:4001 unhealthy 3 1 eu/a",
        "inventory [::1]:4002 unknown 1 1 eu/a",
    ]
    certs = json.loads((await run("proxy", "orders-1", "certs", "--name", "service/", "-o", "json")).out)
    assert [(item["name"], item["expires"][-1]) for item in certs["items"]] == [("identity", "Z")]
    assert [argument for _, _, argument in mesh.commands] == ["endpoints", ""]
    none = await run("proxy", "orders-1", "clusters", "--name", "nobody")
    assert none.out == "no clusters with nobody in a name\n"
    for wrong in (("stats", "-o", "wide"), ("config", "--name", "x"), ("routes", "--filter", "x")):
        assert (await run("proxy", "orders-1", *wrong)).code == 2
