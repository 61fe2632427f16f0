"""Repairs the log of a stopped embedded Valkey: cuts what a crash or a bad disk left after the last command.

The check is Valkey's own (`valkey-check-aof`, which is the server itself under another name), so what is left
is what Valkey accepts. A copy of the damaged file is kept.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from meshwright.control_plane.errors import InputError, StoreError
from meshwright.control_plane.store.embedded import EmbeddedValkey

CHECK_TIMEOUT = 600.0
"""Seconds for the check of one file: it reads it once."""

_ANALYZED = re.compile(r"size=(\d+), ok_up_to=(\d+)")
_ENTRY = re.compile(r"^file (?P<name>\S+) seq \d+ type (?P<type>[bhi])", re.MULTILINE)
_REVISION = re.compile(rb"\$13\r\nmesh:revision\r\n\$\d+\r\n(\d+)\r\n")


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of the log that is whole up to `valid` of its `size` bytes. `revision`: the newest in these."""

    file: Path
    size: int
    valid: int
    revision: int | None = None


def find_damage(embedded: EmbeddedValkey) -> Damage | None:
    """What is damaged in the log; None if Valkey accepts it.

    Raises InputError if there is no log, StoreError for damage that cutting the end cannot repair.
    """
    folder = embedded.folder / "appendonlydir"
    base, increments = _files(folder)
    binary = embedded.argv[0]
    for file in base:
        _check_base(binary, file)
    damages = [damage for file in increments if (damage := _check_increment(binary, file))]
    if damages and damages[0].file != increments[-1]:
        raise StoreError(f"{damages[0].file}: is damaged, and later files build on it: restore a backup")
    return damages[0] if damages else None


def cut(damage: Damage, now: int) -> Path:
    """Cut the damaged end off; returns the copy of the whole file. `now` in epoch seconds, for its name."""
    copy = damage.file.with_name(f"{damage.file.name}.damaged-{now}")
    shutil.copy2(damage.file, copy)
    with damage.file.open("r+b") as file:
        file.truncate(damage.valid)
        os.fsync(file.fileno())
    return copy


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The base and the increments of the log, in order, as its manifest lists them."""
    manifest = folder / "appendonly.aof.manifest"
    try:
        text = manifest.read_text()
    except FileNotFoundError:
        raise InputError(f"{manifest}: missing: there is no embedded store here, restore a backup") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{manifest}: cannot be read ({type(error).__name__}): restore a backup") from None
    entries = [(match["type"], folder / match["name"]) for match in _ENTRY.finditer(text)]
    missing = [file for kind, file in entries if kind != "h" and not file.is_file()]
    if missing or not entries:
        raise StoreError(f"{missing[0] if missing else manifest}: lost: restore a backup")
    return [file for kind, file in entries if kind == "b"], [file for kind, file in entries if kind == "i"]


def _run(binary: str, tool: str, file: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool that is part of the server's binary: it looks at the name under which it is started."""
    return subprocess.run(
        [tool, str(file)],
        executable=binary,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=CHECK_TIMEOUT,
        check=False,
    )


def _check_base(binary: str, file: Path) -> None:
    tool = "valkey-check-rdb" if file.suffix == ".rdb" else "valkey-check-aof"
    if file.stat().st_size and _run(binary, tool, file).returncode:
        raise StoreError(f"{file}: is damaged, and no part of it can be used alone: restore a backup")


def _check_increment(binary: str, file: Path) -> Damage | None:
    if not file.stat().st_size:
        return None
    result = _run(binary, "valkey-check-aof", file)
    if result.returncode == 0:
        return None
    analysis = _ANALYZED.search(result.stdout)
    if analysis is None:
        raise StoreError(f"{file}: cannot be checked: {' '.join(result.stdout.split())[-200:]}")
    size, valid = int(analysis[1]), int(analysis[2])
    with file.open("rb") as log:
        revisions = _REVISION.findall(log.read(valid))
    return Damage(file, size, valid, int(revisions[-1]) if revisions else None)
