"""The configuration file of embedded Valkey, and store URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwright.control_plane.errors import InputError
from meshwright.control_plane.store import embedded
from meshwright.control_plane.store.connection import Connection, address


def test_config_is_private_and_durable() -> None:
    text = embedded.config_text(Path("/s/store"), Path("/s/store/valkey.sock"), "secret")
    lines = text.splitlines()
    for line in (
        "port 0",
        'unixsocket "/s/store/valkey.sock"',
        "unixsocketperm 700",
        'requirepass "secret"',
        'dir "/s/store"',
        "appendonly yes",
        "appendfsync always",
        'save ""',
    ):
        assert line in lines


def test_path_cannot_inject_a_line_into_the_config() -> None:
    text = embedded.config_text(Path('/a"b\\c\nport 6379'), Path("/s"), "secret")
    assert 'dir "/a\\"b\\\\c\\nport 6379"' in text.splitlines()
    assert "port 6379" not in text.splitlines()


def test_url_escapes_the_path(tmp_path: Path) -> None:
    located = embedded.locate(tmp_path / "a b?c")
    assert located.url.startswith("unix:///")
    assert located.url.endswith("a%20b%3Fc/store/valkey.sock")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://user:secret@[::1]:6379/0?password=secret", "rediss://[::1]:6379/0"),
        ("unix://:secret@/run/valkey.sock", "unix:///run/valkey.sock"),
    ],
)
def test_address_contains_no_secret(url: str, shown: str) -> None:
    assert address(url) == shown


@pytest.mark.parametrize(
    "url", ["http://:secret@host", "secret", "redis://:secret@host:port/0", "redis://[::1"]
)
def test_invalid_url_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(InputError, match="MESH_REDIS_URL: not the URL") as caught:
        Connection(url)
    assert "secret" not in str(caught.value)
