"""Lost keys of the CA are an error that names the ways out; nothing is created in their place."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.app import ControlPlane
from meshwright.control_plane.ca.lost_keys import StoredKeys, check_not_lost
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import ForeignRootError, InputError
from meshwright.control_plane.serving import serve
from meshwright.control_plane.store.tokens import TokenRecord
from tests.fakes.valkey import Valkey, running_valkey

ORDERS = Identity("mesh.local", "service", "orders")


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("store"), tcp=True) as valkey:
        yield valkey


@pytest.fixture
def settings(valkey: Valkey, tmp_path: Path) -> Settings:
    """Those of a control plane whose mesh has one revision and a valid join token."""
    with valkey.client() as client:
        client.flushall()
    settings = Settings(tmp_path / "state", redis_url=valkey.url)
    asyncio.run(serve_once(settings))
    (settings.state / "revision").write_text("1\n")
    return settings


async def serve_once(settings: Settings) -> str:
    """Open the store as a start does, and record a join token; returns the hash of the root."""
    control_plane = await ControlPlane.create(settings)
    try:
        await control_plane.store.open()
        expires = time.time() + 600
        await control_plane.store.tokens.record(TokenRecord("t", "service", "orders", 0.0, expires))
        return control_plane.authority.ca_sha256
    finally:
        await control_plane.store.close()


def files(settings: Settings) -> list[str]:
    return sorted(str(path.relative_to(settings.state)) for path in (settings.state / "ca").glob("*"))


async def test_start_with_all_keys_keeps_them(settings: Settings) -> None:
    assert await serve_once(settings) == await serve_once(settings)


@pytest.mark.parametrize("lost", [["ca"], ["ca", "revision"], ["ca/root.pem", "ca/root.key"]])
async def test_lost_root_is_refused_until_it_is_given_up_by_name(settings: Settings, lost: list[str]) -> None:
    stored = await serve_once(settings)
    for name in lost:
        path = settings.state / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = files(settings)
    with pytest.raises(InputError, match="is lost: restore") as raised:
        await ControlPlane.create(settings)
    assert f"MESH_CA_REPLACES={stored[:16]}:" in str(raised.value)
    for given_up in ("0" * 16, stored[:15], ""):
        with pytest.raises(InputError, match="is lost: restore"):
            await ControlPlane.create(replace(settings, ca_replaces=given_up))
    assert files(settings) == before, "no new root takes its place"
    new = await serve_once(replace(settings, ca_replaces=stored[:16]))
    assert new != stored
    assert await serve_once(settings) == new, "the setting is needed once"


async def test_another_root_than_the_stored_one_is_refused(settings: Settings, tmp_path: Path) -> None:
    stored = await serve_once(settings)
    other = replace(settings, state=tmp_path / "other", redis_url="redis://127.0.0.1:1/0")
    (await ControlPlane.create(other)).authority.mint_token(ORDERS, 60)
    foreign = await ControlPlane.create(replace(other, redis_url=settings.redis_url))
    with pytest.raises(InputError, match=f"is not the one of this mesh .{stored[:16]}.: restore") as raised:
        await serve(foreign, asyncio.Event())
    assert f"MESH_CA_REPLACES={stored[:16]}:" in str(raised.value)
    assert await serve_once(settings) == stored


async def test_foreign_root_that_shows_after_an_outage_serves_nothing(
    settings: Settings, valkey: Valkey, tmp_path: Path
) -> None:
    other = Settings(tmp_path / "other", redis_url="redis://127.0.0.1:1/0")
    await ControlPlane.create(other)
    store = (await ControlPlane.create(replace(other, redis_url=settings.redis_url))).store
    with valkey.client() as client:
        client.set("mesh:revision", 1)
    store.last_seen_revision = 1  # known from before, so nothing else would open the store
    for read in (store.snapshot, store.current):
        with pytest.raises(ForeignRootError):
            await read()
    assert "is not the one of this mesh" in store.health.reason
    await store.close()


async def test_lost_key_of_tokens_is_refused_while_they_are_valid(settings: Settings) -> None:
    key = settings.state / "ca" / "tokens.key"
    key.unlink()
    with pytest.raises(InputError, match=r"tokens\.key: the key that signs join tokens is lost") as raised:
        await ControlPlane.create(settings)
    assert "give up the 1 valid join tokens" in str(raised.value)
    assert not key.exists()
    command = str(raised.value).split("`")[1]
    shell = await asyncio.create_subprocess_exec("sh", "-c", command)
    assert await shell.wait() == 0
    await serve_once(settings)


async def test_second_control_plane_needs_the_key_of_tokens_too(settings: Settings, tmp_path: Path) -> None:
    ca = settings.state / "ca"
    second = replace(
        settings,
        state=tmp_path / "second",
        ca_certificate=str(ca / "root.pem"),
        ca_key=str(ca / "root.key"),
    )
    with pytest.raises(InputError, match="MESH_CA_TOKENS_KEY"):
        await ControlPlane.create(second)
    await serve_once(replace(second, ca_tokens_key=str(ca / "tokens.key")))


def test_unknown_store_leaves_it_to_the_state_directory(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    for stored in (None, StoredKeys()):
        check_not_lost(settings, stored)
    (tmp_path / "revision").write_text("3\n")
    for stored in (None, StoredKeys()):
        with pytest.raises(InputError, match=f"rm {tmp_path}/revision"):
            check_not_lost(settings, stored)
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "root.key").touch()
    check_not_lost(settings, StoredKeys())
    with pytest.raises(InputError, match="key that signs join tokens is lost"):
        check_not_lost(settings, None)


def test_keys_that_settings_name_are_never_missing(tmp_path: Path) -> None:
    (tmp_path / "revision").write_text("3\n")
    named = Settings(tmp_path, ca_certificate="root.pem", ca_key="root.key", ca_tokens_key="tokens.key")
    check_not_lost(named, None)
    check_not_lost(named, StoredKeys("ab" * 32, 5))
