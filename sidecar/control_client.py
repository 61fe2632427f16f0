"""Asking the agent of a state directory, from another process."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar.status import AgentStatus

CONTROL_SOCKET = "agent.sock"


def send_request(state: Path, request: dict[str, Any], timeout: float = 60.0) -> dict[str, Any]:
    """Send one request, return its answer. Blocks for `timeout` seconds at most.

    Raises OSError when no agent listens or it does not answer in time, ValueError when it refuses.
    """
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(timeout)
        connection.connect(str(socket_path(state, CONTROL_SOCKET)))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as file:
            line = file.readline()
    if not line:
        raise ConnectionError("the agent closed the connection without an answer")
    answer = json.loads(line)
    if "error" in answer:
        raise ValueError(answer["error"])
    return dict(answer)


def fetch_status(state: Path) -> AgentStatus:
    """What the agent's workloads are doing; raises OSError when no agent listens."""
    return AgentStatus.model_validate(send_request(state, {"status": True}, 5.0))


def stop_workload(state: Path, name: str, timeout: float = 60.0) -> None:
    """Stop one workload gracefully and wait until it has; ValueError when there is none of this name."""
    send_request(state, {"stop": name}, timeout)
