"""Trust of a gateway in its clients: filter chains by who connects, and where the settings come from."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.core.edge import Clients, clients
from meshwright.control_plane.policies.gateway.edge import EdgeSettings

LOCAL = ("127.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [Clients("local", LOCAL, traced=True), Clients("clients")]),
        ({"traceContext": "Continue"}, [Clients("clients", traced=True)]),
        ({"traceContext": "Restart"}, [Clients("clients")]),
        ({"trustedProxies": 1}, [Clients("proxies", trusted=True, traced=True)]),
        ({"trustedProxies": 1, "traceContext": "Restart"}, [Clients("proxies", trusted=True)]),
        (
            {"trustedProxies": ["10.0.0.0/8", "127.0.0.0/8"]},
            [
                Clients("proxies", ("10.0.0.0/8", "127.0.0.0/8"), trusted=True, traced=True),
                Clients("local", LOCAL[1:], traced=True),
                Clients("clients"),
            ],
        ),
    ],
)
def test_filter_chains_follow_the_settings(settings: dict[str, Any], expected: list[Clients]) -> None:
    assert list(clients(EdgeSettings.model_validate(settings))) == expected


def test_document_replaces_only_the_fields_that_it_sets() -> None:
    file = EdgeSettings.model_validate({"trustedProxies": 2, "requestTimeout": "1m"})
    document = EdgeSettings.model_validate({"requestTimeout": "5s"})
    merged = file.overridden_by(document)
    assert (merged.trusted_proxies, merged.request_timeout.total_seconds()) == (2, 5)


@pytest.mark.parametrize("value", [-1, 17, True, "1", "10.0.0.0/8", [], ["10.0.0.1/8"], ["host"]])
def test_wrong_trusted_proxies_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        EdgeSettings.model_validate({"trustedProxies": value})


def test_address_is_a_network_of_one_and_twice_the_same_is_one() -> None:
    settings = EdgeSettings.model_validate({"trustedProxies": ["10.0.0.1", "10.0.0.1/32"]})
    assert settings.trusted_proxies == ("10.0.0.1/32",)
