"""`docs/new-service.md`, followed word for word: the service that it adds runs, and its files are valid."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import aiohttp
import pytest

import meshwright.services
from meshwright.cli.application import read_application
from meshwright.control_plane.policies.loader import load_files
from meshwright.services.catalog.app import SERVICE as CATALOG
from tests.contracts.conftest import Exchange
from tests.services.processes import ROOT, caller

PAGE = (ROOT / "docs/new-service.md").read_text()
BLOCKS = dict(re.findall(r"`(services/[^`]+)`:\n\n```\w*\n(.*?)```", PAGE, re.DOTALL))
"""The files that the page shows, by path. Of application.yaml it is one entry."""

APPLICATION = "services/application.yaml"


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `services` of somebody who has followed the page, beside the services that exist."""
    for name, text in BLOCKS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((ROOT / name).read_text() + text if name == APPLICATION else text)
    monkeypatch.setattr(
        meshwright.services, "__path__", [*meshwright.services.__path__, str(tmp_path / "services")]
    )
    return tmp_path / "services"


async def test_the_service_of_the_page_works(
    exchange: Exchange, session: aiohttp.ClientSession, followed: Path
) -> None:
    module = importlib.import_module("meshwright.services.wishlist.app")
    await exchange.serve(CATALOG)
    url = await exchange.serve(module.SERVICE)
    for product in ("seed-plate", "paper-wallet", "seed-plate"):
        path = f"{url}/api/wishlist/{product}"
        async with session.put(path, headers=caller("ada", "customer")) as response:
            assert response.status == 200, await response.text()
    async with session.get(f"{url}/api/wishlist", headers=caller("ada", "customer")) as response:
        assert await response.json() == {"productIds": ["seed-plate", "paper-wallet"]}
    async with session.get(f"{url}/api/wishlist", headers=caller("bob", "customer")) as response:
        assert await response.json() == {"productIds": []}
    async with session.get(f"{url}/api/wishlist") as response:
        assert response.status == 401
    async with session.put(f"{url}/api/wishlist/nothing", headers=caller("ada")) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (422, "unknown_product")
    importlib.import_module("meshwright.services.wishlist.__main__")
    assert f'launch("{module.__name__}")' in PAGE


def test_the_application_file_and_the_policies_of_the_page_are_valid(followed: Path) -> None:
    entries = read_application(followed / "application.yaml").spec.services
    assert entries[-1].name == "wishlist"
    loaded = load_files([(path.name, path.read_bytes()) for path in followed.glob("policies/*.yaml")])
    assert loaded.problems == ()
    kinds = [document.raw["kind"] for document in loaded.documents]
    assert kinds == ["HTTPRoute", "CircuitBreaker", "Authorization"]


def test_the_page_names_the_callers_of_catalog_as_they_are() -> None:
    [before] = re.findall(r"so `([^`]+)` in `services/policies/catalog.yaml`", PAGE)
    assert before in (ROOT / "services/policies/catalog.yaml").read_text()
