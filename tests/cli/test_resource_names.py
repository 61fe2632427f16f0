"""Arguments that take a name, or a kind and a name."""

from __future__ import annotations

import pytest

from meshwright.cli.resource_names import name_parser
from tests.cli.conftest import RunMesh
from tests.fakes.admin_server import FakeMesh


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("orders", "orders"),
        ("service/orders", "orders"),
        ("Services/orders", "orders"),
        ("gateway/ingress", "ingress"),
        ("proxy/orders-1", "proxy/orders-1"),
        ("service/", "service/"),
        ("service/orders=3", "orders=3"),
    ],
)
def test_a_kind_before_a_name_is_left_out(text: str, name: str) -> None:
    assert name_parser("service", "gateway")(text) == name


def test_the_plural_of_a_proxy_is_proxies() -> None:
    assert name_parser("proxy")("proxies/orders-1") == name_parser("proxy")("proxy/orders-1") == "orders-1"
    assert name_parser("proxy")("orders/orders-1") == "orders/orders-1"


async def test_commands_take_kind_and_name_and_suggest_the_closest(mesh: FakeMesh, run: RunMesh) -> None:
    for arguments in (("ps", "service/order"), ("restart", "services/order")):
        failed = await run(*arguments)
        assert failed.code != 0
        assert "did you mean orders?" in failed.err, arguments
    assert (await run("ps", "service/orders")).code == 0
    assert mesh.commands == []
