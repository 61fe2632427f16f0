"""`mesh schema envoy`: the documentation of Envoy's configuration."""

from __future__ import annotations

import pytest

from meshwright.cli import envoy_schema
from meshwright.control_plane.errors import InputError

CLUSTER = "envoy.config.cluster.v3.Cluster"


@pytest.mark.parametrize(
    ("path", "begins", "says"),
    [
        (
            "cluster.v3.Cluster.connect_timeout",
            "envoy.config.cluster.v3.Cluster.connect_timeout: Duration",
            "5s",
        ),
        ("envoy.config.core.v3.Node.id", "envoy.config.core.v3.Node.id: str", "opaque node identifier"),
        ("cluster.v3.Cluster.LbPolicy", f"{CLUSTER}.LbPolicy", "  RANDOM: 3"),
        ("http.router.v3.Router", "envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers"),
        ("listener.v3.Listener.address", "envoy.config.listener.v3.Listener.address: Address", "unique"),
    ],
)
def test_explains_messages_fields_and_enums(path: str, begins: str, says: str) -> None:
    text = envoy_schema.explain(path)
    assert text.splitlines()[0] == begins
    assert says in text
    assert ":ref:" not in text


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "write it like"),
        ("Cluster", "write it like"),
        ("cluster.v3.Nothing", "Envoy has no cluster.v3.Nothing"),
        ("cluster.v3.Cluster.timeout", "has no field timeout: it has .*connect_timeout"),
        ("cluster.v3.Cluster.name.more", "has no field name.more"),
    ],
)
def test_a_name_that_is_none_is_refused_with_those_that_are(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        envoy_schema.explain(path)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy_schema, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"meshwright\[schema\]"):
        envoy_schema.explain("core.v3.Node")
