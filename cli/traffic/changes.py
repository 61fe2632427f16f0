"""Temporary policies of the demo: applied through the admin API, and always deleted again.

All sidecars get them at once: a push in waves would withdraw the failures that they make on purpose.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from meshwright.cli.errors import CommandError, warn
from meshwright.cli.http import call_api
from meshwright.cli.options import author
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import MeshError

ACK_TIMEOUT = 15.0
"""Seconds to wait for the sidecars to ACK; one that is being replaced never does."""

REMOVAL_TIMEOUT = 60.0
"""Seconds to retry a removal while the control plane is unreachable."""


def apply_documents(documents: Iterable[Mapping[str, Any]], message: str, state: Path) -> int:
    """Apply documents and wait for the ACKs; returns the revision. Raises MeshError."""
    options = calls.ChangeOptions(message=message, author=author(), immediate=True)
    sourced = [calls.SourcedDocument(document) for document in documents]
    applied = call_api(calls.apply(sourced, options), state)
    for warning in applied.get("warnings", ()):
        warn(f"warning: {warning}")
    wait_for_acks(applied, state)
    return int(applied["revision"])


def remove_documents(refs: Sequence[calls.DocumentRef], message: str, state: Path) -> None:
    """Delete those of some documents that exist, and wait for the ACKs. Raises CommandError."""
    options = calls.ChangeOptions(message=message, author=author(), immediate=True)
    deadline = time.monotonic() + REMOVAL_TIMEOUT
    while True:
        try:
            existing = _existing(refs, state)
            if existing:
                wait_for_acks(call_api(calls.delete(existing, options), state), state)
            return
        except MeshError as error:
            if time.monotonic() > deadline:
                left = ", ".join(f"{ref.kind}/{ref.name}" for ref in refs)
                hints = " ".join(f"`mesh delete {ref.kind.lower()} {ref.name}`" for ref in refs)
                message = f"{left} may still be active: delete with {hints} ({error})"
                raise CommandError(errors.FAILED, message) from None
        time.sleep(0.5)


def _existing(refs: Iterable[calls.DocumentRef], state: Path) -> list[calls.DocumentRef]:
    documents = call_api(calls.policies(), state)["documents"]
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    return [ref for ref in refs if (ref.kind, ref.name) in names]


def wait_for_acks(result: Mapping[str, Any], state: Path) -> None:
    """Wait until every connected sidecar has ACKed a revision; warn if one has not."""
    wait = call_api(calls.wait(result["revision"], ACK_TIMEOUT), state)
    if wait["state"] != "programmed":
        warn(f"revision {result['revision']} is not ACKed everywhere after {ACK_TIMEOUT:g} s")
