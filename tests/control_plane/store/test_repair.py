"""A damaged log of a real Valkey is repaired, and what was whole is there again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from meshwright.control_plane.errors import InputError, StoreError
from meshwright.control_plane.store import embedded, repair
from tests.fakes.valkey import Valkey, running_valkey


@pytest.fixture
def stopped(tmp_path: Path) -> Valkey:
    """A Valkey with keys 0 to 9 and a revision each, which was killed."""
    with running_valkey(tmp_path) as valkey, valkey.client() as client:
        for number in range(10):
            client.set(f"key:{number}", "x" * 100)
            client.set("mesh:revision", number)
    return valkey


def log_of(valkey: Valkey) -> Path:
    return valkey.embedded.folder / "appendonlydir" / "appendonly.aof.1.incr.aof"


def keys_after_start(valkey: Valkey) -> int:
    valkey.start()
    try:
        with valkey.client() as client:
            return sum(client.exists(f"key:{number}") for number in range(10))
    finally:
        valkey.stop()


def append_garbage(log: Path) -> int:
    with log.open("ab") as file:
        return file.write(bytes(range(256)))


def damage_the_middle(log: Path) -> int:
    content = log.read_bytes()
    place = content.index(b"key:5") - len(b"*3\r\n$3\r\nSET\r\n$5\r\n")
    log.write_bytes(content[:place] + b"\xff" * 8 + content[place + 8 :])
    return 0


@pytest.mark.parametrize(("damage", "keys", "revision"), [(append_garbage, 10, 9), (damage_the_middle, 5, 4)])
def test_damaged_log_is_cut_after_the_last_whole_command(
    stopped: Valkey, damage: Callable[[Path], int], keys: int, revision: int
) -> None:
    log = log_of(stopped)
    damage(log)
    content = log.read_bytes()
    with pytest.raises(redis.RedisError):
        stopped.start()
    damaged = repair.find_damage(stopped.embedded)
    assert damaged is not None
    assert (damaged.file, damaged.size, damaged.revision) == (log, len(content), revision)
    copy = repair.cut(damaged, 17)
    assert copy.read_bytes() == content, "nothing is lost for good"
    assert log.read_bytes() == content[: damaged.valid]
    assert repair.find_damage(stopped.embedded) is None
    assert keys_after_start(stopped) == keys


def test_half_a_command_at_the_end_is_damage_too(stopped: Valkey) -> None:
    log = log_of(stopped)
    log.write_bytes(log.read_bytes()[:-10])
    damaged = repair.find_damage(stopped.embedded)
    assert damaged is not None
    repair.cut(damaged, 17)
    assert keys_after_start(stopped) == 10


def test_whole_log_is_not_touched(stopped: Valkey) -> None:
    assert repair.find_damage(stopped.embedded) is None


def test_what_a_cut_cannot_repair_needs_a_backup(stopped: Valkey) -> None:
    folder = stopped.embedded.folder / "appendonlydir"
    base = folder / "appendonly.aof.1.base.rdb"
    content = base.read_bytes()
    base.write_bytes(content[:20] + b"\0" * 20 + content[40:])
    with pytest.raises(StoreError, match=r"base\.rdb: is damaged.*restore a backup"):
        repair.find_damage(stopped.embedded)
    base.unlink()
    with pytest.raises(StoreError, match=r"base\.rdb: lost: restore a backup"):
        repair.find_damage(stopped.embedded)
    (folder / "appendonly.aof.manifest").unlink()
    with pytest.raises(InputError, match="there is no embedded store here"):
        repair.find_damage(stopped.embedded)


def test_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no embedded store here"):
        repair.find_damage(embedded.locate(tmp_path))
