"""The policies of an application file beside those of the running mesh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from meshwright.cli.documents import parse_documents, read_files, read_named_file, sourced
from meshwright.cli.http import call_api
from meshwright.cli.options import author
from meshwright.cli.reconcile.agreement import agreement, is_agreed, remember
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.calls import SourcedDocument

NAMES_SHOWN = 3
"""Policies that a note names, at most."""


def change_policies(paths: Sequence[str], state: Path, *, dry_run: bool) -> list[dict[str, Any]]:
    """The documents of files that differ from the mesh's, each with `action`; without `dry_run` applied.

    Documents that only the mesh has are left alone: others may have applied them.
    """
    if not paths:
        return []
    revisions = call_api(calls.history(limit=1), state)["revisions"]
    files = read_files(paths)
    current = agreement(files, revisions[0] if revisions else {})
    if is_agreed(state, current):
        return []
    named: list[str] = []

    def read_file(document: str, name: str, limit: int) -> str:
        named.append(name)
        return read_named_file(document, name, limit)

    options = calls.ChangeOptions(message="mesh up", author=author(), dry_run=dry_run)
    documents = sourced(parse_documents(files, read_file=read_file))
    changed = call_api(calls.apply(documents, options), state)["changed"]
    differing = [change for change in changed if change["action"] != "unchanged"]
    if not differing and not named:  # the content of a file that a document names is in no `files`
        remember(state, current)
    return differing


def policy_notes(
    documents: Sequence[SourcedDocument], in_force: Sequence[Mapping[str, Any]], file: Path
) -> Iterator[str]:
    """What to say at the start of an application whose policies are not the ones in force.

    `in_force` as the API shows them: without secrets, so that a secret that alone differs is not noticed.
    """
    # Only a start needs these.
    from meshwright.control_plane.policies.rollout.progress import with_stored_progress
    from meshwright.control_plane.policies.secret_source import redacted

    stored = {_key(document): document for document in in_force}
    stated = {_key(item.document): item.document for item in documents}
    differing = [
        key
        for key, document in stated.items()
        if redacted(with_stored_progress(document, stored)) != stored.get(key)
    ]
    if differing:
        yield f"{file} has others than the mesh ({_names(differing)}): `mesh up --policies` applies them"
    if others := sorted(stored.keys() - stated.keys()):
        policies = "1 policy is" if len(others) == 1 else f"{len(others)} policies are"
        yield f"{policies} in force that {file} does not have: {_names(others)}: see `mesh get`"


def _key(document: Mapping[str, Any]) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def _names(keys: Sequence[tuple[str, str]]) -> str:
    names = ", ".join("/".join(key) for key in keys[:NAMES_SHOWN])
    more = len(keys) - NAMES_SHOWN
    return f"{names} and {more} more" if more > 0 else names
