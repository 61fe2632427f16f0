"""Which files `mesh up --watch` looks at, and what counts as a change of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwright.cli.application import ServiceEntry
from meshwright.cli.reconcile.sources import changed_file, source_stamps

FILES = (
    "app.py",
    "other.py",
    "notes.txt",
    "web/server.js",
    "web/lib/a.js",
    "web/node_modules/x.js",
    "pkg/orders/main.py",
    "pkg/orders/.hidden.py",
    "pkg/orders/__pycache__/main.py",
    "pkg/single.py",
    "bin/run",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "watch", "expected"),
    [
        (["python3", "-m", "pkg.orders"], [], ["pkg/orders/main.py"]),
        (["python3", "-m", "pkg.single"], [], ["pkg/single.py"]),
        (["python3", "-m", "installed"], [], []),
        (["node", "web/server.js", "--port", "1"], [], ["web/lib/a.js", "web/server.js"]),
        (["bin/run"], [], ["bin/run"]),
        (["node", "web/server.js"], ["notes.txt", "web/lib"], ["notes.txt", "web/lib/a.js"]),
        (["go-program"], [], []),
    ],
)
def test_sources_are_what_the_command_names(
    folder: Path, command: list[str], watch: list[str], expected: list[str]
) -> None:
    entry = ServiceEntry.model_validate({"name": "a", "command": command, "watch": watch})
    assert sorted(str(path.relative_to(folder)) for path in source_stamps(entry, folder)) == expected


def test_a_file_that_is_written_added_or_removed_is_a_change(folder: Path) -> None:
    entry = ServiceEntry.model_validate({"name": "a", "command": ["run"], "watch": ["web"]})
    before = source_stamps(entry, folder)
    assert changed_file(before, source_stamps(entry, folder)) is None
    (folder / "web" / "server.js").write_text("longer")
    written = source_stamps(entry, folder)
    assert changed_file(before, written) == folder / "web" / "server.js"
    (folder / "web" / "new.js").write_text("1")
    added = source_stamps(entry, folder)
    assert changed_file(written, added) == changed_file(added, written) == folder / "web" / "new.js"
