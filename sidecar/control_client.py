"""Client of an agent's control socket, for other processes on the same machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from meshwright.control_plane.api.private_files import check_folder
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar.config import Workload
from meshwright.sidecar.status import AgentStatus

CONTROL_SOCKET = "agent.sock"


def send_request(state: Path, request: dict[str, Any], timeout: float = 60.0) -> dict[str, Any]:
    """Send one request and return the response. Blocks for at most `timeout` seconds.

    Raises OSError when no agent listens or responds in time, ValueError when it rejects the request, and
    InputError when others may write to the socket's folder.
    """
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(timeout)
        path = socket_path(state, CONTROL_SOCKET)
        check_folder(path.parent)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as file:
            line = file.readline()
    if not line:
        raise ConnectionError("the agent closed the connection without a response")
    response = json.loads(line)
    if "error" in response:
        raise ValueError(response["error"])
    return dict(response)


def fetch_status(state: Path) -> AgentStatus:
    """The status of the agent's workloads. Raises OSError when no agent listens."""
    return AgentStatus.model_validate(send_request(state, {"status": True}, 5.0))


def start_workload(state: Path, workload: Workload) -> None:
    """Have the agent run one workload more; its status tells how far that is. Raises ValueError if there is
    one of its name."""
    send_request(state, {"start": workload.model_dump(mode="json", exclude_defaults=True)})


def stop_workload(state: Path, name: str, timeout: float = 60.0) -> None:
    """Stop a workload gracefully, for good, and wait for it. Raises ValueError when there is no such
    workload."""
    send_request(state, {"stop": name}, timeout)


def replace_proxy(state: Path, name: str, timeout: float = 180.0) -> None:
    """Have a new Envoy take over from a workload's, and wait for it. Raises ValueError if it does not: the
    one before goes on."""
    send_request(state, {"replace_proxy": name}, timeout)


def replace_agent(state: Path, command: Sequence[str], environment: Mapping[str, str | None]) -> None:
    """Have an agent's process run `command`, with one more argument (see `cli.join.resume`), in its place.

    `environment`: variables to set, or to remove where None. Raises ValueError if it does not: it goes on as
    it is. Raises OSError when no agent listens.
    """
    # The kernel closes the connection when the program is replaced: that is the response.
    with suppress(ConnectionError):
        send_request(state, {"replace_agent": list(command), "environment": dict(environment)})
