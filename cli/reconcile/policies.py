"""The policies of an application file beside those of the running mesh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshwright.cli.documents import load_documents
from meshwright.cli.http import call_api
from meshwright.cli.options import author
from meshwright.control_plane.api import calls


def change_policies(paths: Sequence[str], state: Path, *, dry_run: bool) -> list[dict[str, Any]]:
    """The documents of files that differ from the mesh's, each with `action`; without `dry_run` applied.

    Documents that only the mesh has are left alone: others may have applied them.
    """
    if not paths:
        return []
    options = calls.ChangeOptions(message="mesh up", author=author(), dry_run=dry_run)
    changed = call_api(calls.apply(load_documents(paths), options), state)["changed"]
    return [change for change in changed if change["action"] != "unchanged"]
