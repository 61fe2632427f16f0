"""`python -m meshwright.cli.join.resume FOLDER LOCK`: go on with the instance in FOLDER.

`mesh upgrade` has the process of a `mesh run` or `mesh agent` run this in place of the version before. LOCK
is the descriptor of the folder's lock.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from meshwright.cli.errors import exit_code, print_error, warn
from meshwright.cli.join.grpc_log import silence_grpc
from meshwright.cli.join.setup import JoinedInstance, leave_mesh
from meshwright.cli.state_lock import StateLock
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.envoy_binary import envoy_binary
from meshwright.control_plane.errors import InputError, MeshError
from meshwright.sidecar.config import AGENT_CONFIG_FILE, AgentConfig, load_config


def resumed_config(folder: Path) -> AgentConfig:
    """What an instance's agent of before ran, with the Envoy of this installation.

    Raises OSError, InputError, or pydantic's ValidationError if this version does not understand it.
    """
    config = load_config(folder / AGENT_CONFIG_FILE)
    with suppress(InputError):  # then Envoy starts again as it was
        config = config.model_copy(update={"envoy": envoy_binary()})
    return config


def resume(folder: Path, lock: StateLock) -> int:
    """Run the instance's agent to its end; returns the exit code of the command."""
    silence_grpc()
    from meshwright.cli.join.runner import WorkloadRunner  # imports gRPC

    config = resumed_config(folder)
    runner = WorkloadRunner(JoinedInstance(config, lock))
    try:
        if config.workloads[0].command is None:
            asyncio.run(runner.serve(sys.stderr))
            return 0
        warn(f"mesh: {config.workloads[0].name} goes on with Meshwright {VERSION}")
        return asyncio.run(runner.run(None))
    finally:
        leave_mesh(lock, config.state)


def main(arguments: Sequence[str]) -> int:
    """Run it; returns the exit code."""
    folder, descriptor = arguments
    try:
        return resume(Path(folder), StateLock.inherited(int(descriptor)))
    except MeshError as error:
        print_error(error)
        return exit_code(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
