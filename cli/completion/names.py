"""Names that exist in the running mesh, for shell completion: one call of the admin API each."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshwright.cli.http import call_api
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.contexts import read_contexts
from meshwright.control_plane.errors import MeshError

TIMEOUT = 2.0
"""Seconds that a Tab waits for the control plane."""

_SERVICES = frozenset(
    {"SERVICE", "--service", "--from", "--to", "--gateway", "--upstream", "--caller", "forget NAME"}
)
"""What takes a service's or gateway's name: a word of the help, an option, or a command's argument."""


def live(value: str, option: str, command: str, state: Path | None) -> list[str]:
    """Candidates for a value, by its word in the help and what it belongs to; none for other values."""
    argument = f"{command} {value}"
    if not _SERVICES.isdisjoint({value, option, argument}):
        return _listed(calls.services(), "services", "name", state)
    if value == "SERVICE=N":
        return [f"{name}=" for name in _listed(calls.services(), "services", "name", state)]
    if value == "CONTEXT":
        return _contexts()
    if argument == "proxy NAME":
        return _listed(calls.proxies(), "proxies", "name", state)
    if argument == "revoke ID":
        return _listed(calls.tokens(), "tokens", "id", state)
    return _revisions(state) if value == "REV" else []


def policies(kind: str, state: Path | None) -> list[str]:
    """Names of the current policies of a kind."""
    documents = _call(calls.policies(kind), state).get("documents", [])
    return sorted(document["metadata"]["name"] for document in documents)


def _listed(call: calls.ApiCall, field: str, key: str, state: Path | None) -> list[str]:
    return sorted({each[key] for each in _call(call, state).get(field, [])})


def _contexts() -> list[str]:
    try:
        return sorted(read_contexts(os.environ).contexts)
    except MeshError:
        return []


def _revisions(state: Path | None) -> list[str]:
    """Revisions, newest first, each with its message."""
    revisions = _call(calls.history(), state).get("revisions", [])
    return [f"{each['revision']}\t{each['message']}".rstrip("\t") for each in revisions]


def _call(call: calls.ApiCall, state: Path | None) -> dict[str, Any]:
    """A call's result; empty without a mesh, for a Tab is no place for an error."""
    try:
        return dict(call_api(replace(call, timeout=TIMEOUT), state))
    except (MeshError, OSError):
        return {}
