"""A running embedded Valkey: who can connect, and how it protects its secrets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psutil
import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store import embedded
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import by_ref, retry
from tests.fakes.valkey import Valkey, running_valkey


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_started_valkey_is_ready_and_private_to_its_user(valkey: Valkey) -> None:
    await embedded.wait_ready(valkey.embedded)
    folder = valkey.embedded.folder
    assert _mode(folder) == 0o700
    assert _mode(valkey.embedded.socket) == 0o700
    assert _mode(valkey.embedded.password_file) == 0o600
    assert _mode(folder / "valkey.conf") == 0o600


def test_valkey_opens_no_port_and_has_no_secret_on_its_command_line(valkey: Valkey) -> None:
    assert valkey.process
    process = psutil.Process(valkey.process.pid)
    assert process.net_connections("inet") == []
    assert valkey.password not in " ".join(process.cmdline())
    assert valkey.password not in " ".join(process.environ().values())


async def test_wrong_password_is_denied(valkey: Valkey) -> None:
    for wrong in ("", "guess"):
        store = Store(valkey.url, wrong)
        with pytest.raises(StoreError) as caught:
            await store.open()
        assert valkey.password not in str(caught.value)
        assert "password" in str(caught.value)
        assert store.health.status == "degraded"
        await store.close()


async def test_password_and_data_survive_restarts(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as first:
        store = Store(first.url, first.password)
        await store.open()
        await store.commit(0, by_ref(retry("a")), "ann", "")
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


def test_short_folder_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    state = tmp_path / ("deep" * 30)
    short = embedded.locate(state).socket.parent
    short.symlink_to(tmp_path)
    try:
        with pytest.raises(StoreError, match="not a folder of yours"):
            embedded.prepare(state)
    finally:
        short.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(StoreError, match="not a folder of yours"):
        embedded.prepare(tmp_path)


def test_readable_folder_becomes_private(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o755)
    prepared = embedded.prepare(tmp_path)
    assert _mode(folder) == 0o700
    assert embedded.prepare(tmp_path).password() == prepared.password()


def test_is_running_reports_whether_a_process_listens(valkey: Valkey) -> None:
    assert embedded.is_running(valkey.embedded)
    valkey.stop()
    assert not embedded.is_running(valkey.embedded)


async def test_wait_for_a_valkey_that_never_starts_ends(tmp_path: Path) -> None:
    prepared = embedded.prepare(tmp_path)
    with pytest.raises(StoreError, match=r"not ready within 0 s .*: see its log"):
        await embedded.wait_ready(prepared, within=0.2)


def test_missing_password_file_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="start the mesh with this state folder first"):
        embedded.locate(tmp_path).password()


async def test_any_redis_url_is_a_store(tmp_path: Path) -> None:
    with running_valkey(tmp_path, tcp=True) as valkey:
        store = Store(valkey.url)
        assert await store.open() == 0
        assert (await store.commit(0, by_ref(retry("a")), "ann", "")).number == 1
        valkey.stop()
        with pytest.raises(
            StoreError, match=r"the store at redis://127\.0\.0\.1:\d+/0: it cannot be"
        ) as caught:
            await store.current()
        assert valkey.password not in str(caught.value)
        valkey.start()
        assert (await store.current()).number == 1
        await store.close()


async def test_what_the_store_replies_is_the_reason_why_it_is_not_ready(valkey: Valkey) -> None:
    valkey.embedded.password_file.write_text("guess\n")
    with pytest.raises(StoreError, match=r"not ready within 2 s \(-WRONGPASS .*\): see its log") as caught:
        await embedded.wait_ready(valkey.embedded, within=2.0)
    assert "guess" not in str(caught.value)
