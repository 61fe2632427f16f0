"""The join tokens with which the agent of this host enrols its workloads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from meshwright.cli.http import call_api
from meshwright.cli.token import AGENT_TOKEN_TTL, write_secret
from meshwright.control_plane.api import calls
from meshwright.sidecar.config import Workload


def write_join_tokens(workloads: Iterable[Workload], state: Path) -> None:
    """Write a new token for each service and gateway of these workloads to the file that it names."""
    targets = {item.token_file: (item.role, item.service) for item in workloads}
    for path, (role, name) in sorted(targets.items()):
        created = call_api(calls.create_token(role, name, AGENT_TOKEN_TTL), state)
        write_secret(path, f"{created['token']}\n")
