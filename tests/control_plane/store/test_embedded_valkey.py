"""Embedded Valkey as it is started: who can reach it, what it keeps secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psutil
import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store import embedded
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import documents, retry
from tests.fakes.valkey import Valkey, running_valkey


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_ready_after_start_and_only_its_user_reaches_it(valkey: Valkey) -> None:
    await embedded.wait_ready(valkey.embedded)
    folder = valkey.embedded.folder
    assert _mode(folder) == 0o700
    assert _mode(valkey.embedded.socket) == 0o700
    assert _mode(valkey.embedded.password_file) == 0o600
    assert _mode(folder / "valkey.conf") == 0o600


def test_it_listens_on_no_port_and_its_command_line_holds_no_secret(valkey: Valkey) -> None:
    assert valkey.process
    process = psutil.Process(valkey.process.pid)
    assert process.net_connections("inet") == []
    assert valkey.password not in " ".join(process.cmdline())
    assert valkey.password not in " ".join(process.environ().values())


async def test_without_the_password_it_answers_nothing(valkey: Valkey) -> None:
    for wrong in ("", "guess"):
        store = Store(valkey.url, wrong)
        with pytest.raises(StoreError) as refused:
            await store.open()
        assert valkey.password not in str(refused.value)
        assert "password" in str(refused.value)
        assert store.health.status == "degraded"
        await store.close()


async def test_password_and_data_are_kept_over_restarts(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as first:
        store = Store(first.url, first.password)
        await store.open()
        await store.commit(0, documents(retry("a")), "ann", "")
        await store.close()
    with running_valkey(tmp_path) as second:
        assert second.password == first.password
        store = Store(second.url, second.password)
        assert await store.open(min_revision=1) == 1
        await store.close()


async def test_long_path_uses_a_short_private_folder(tmp_path: Path) -> None:
    state = tmp_path / ("deep" * 20) / 'with "quotes" and \\'
    with running_valkey(state) as valkey:
        assert len(str(valkey.embedded.socket)) <= 100
        assert _mode(valkey.embedded.socket.parent) == 0o700
        store = Store(valkey.url, valkey.password)
        assert await store.open() == 0
        await store.close()
        assert (valkey.embedded.folder / "appendonlydir").is_dir()
    valkey.embedded.socket.unlink(missing_ok=True)
    valkey.embedded.socket.parent.rmdir()


def test_short_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    state = tmp_path / ("deep" * 30)
    short = embedded.locate(state).socket.parent
    short.symlink_to(tmp_path)
    try:
        with pytest.raises(StoreError, match="not a folder of yours"):
            embedded.prepare(state)
    finally:
        short.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(StoreError, match="not a folder of yours"):
        embedded.prepare(tmp_path)


def test_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o755)
    prepared = embedded.prepare(tmp_path)
    assert _mode(folder) == 0o700
    assert embedded.prepare(tmp_path).password() == prepared.password()


def test_running_tells_whether_somebody_listens(valkey: Valkey) -> None:
    assert embedded.is_running(valkey.embedded)
    valkey.stop()
    assert not embedded.is_running(valkey.embedded)


async def test_waiting_for_one_that_never_starts_ends(tmp_path: Path) -> None:
    prepared = embedded.prepare(tmp_path)
    with pytest.raises(StoreError, match=r"not ready within 0 s .*: see its log"):
        await embedded.wait_ready(prepared, within=0.2)


def test_password_that_was_never_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="start the mesh with this state folder first"):
        embedded.locate(tmp_path).password()


async def test_any_redis_by_url(tmp_path: Path) -> None:
    with running_valkey(tmp_path, tcp=True) as valkey:
        store = Store(valkey.url)
        assert await store.open() == 0
        assert (await store.commit(0, documents(retry("a")), "ann", "")).number == 1
        valkey.stop()
        with pytest.raises(
            StoreError, match=r"the store at redis://127\.0\.0\.1:\d+/0: it cannot be"
        ) as lost:
            await store.current()
        assert valkey.password not in str(lost.value)
        valkey.start()
        assert (await store.current()).number == 1
        await store.close()
