"""How one process joins a running mesh: where it enrols, with which token, at which address.

Each instance has its own folder, `STATE/instances/NAME`: any number of them can share a host and a state
directory, with `mesh up` and with each other.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from meshwright.cli.agent_config import agent_config
from meshwright.cli.join.waiting import JOIN_TIMEOUT, call_when_available
from meshwright.cli.options import author
from meshwright.cli.state_lock import INSTANCES_FOLDER, StateLock, remove_abandoned_instances
from meshwright.cli.token import AGENT_TOKEN_TTL
from meshwright.control_plane.api import calls, join_token
from meshwright.control_plane.api.errors import UnreachableError
from meshwright.control_plane.api.hosts import valid_host
from meshwright.control_plane.api.join_token import JoinTokenClaims
from meshwright.control_plane.api.private_files import private_folder, read_named, read_private
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.config import Settings, read_settings
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import AGENT_CONFIG_FILE, AgentConfig, Workload
from meshwright.sidecar.files import write_private

AUTO_ADDRESS = "auto"
"""As --advertise: the source address of connections to the control plane."""


@dataclass(frozen=True, slots=True)
class JoinTarget:
    """Which mesh to join, and how this node is reached; empty fields are left to the settings.

    `control_plane` is the host of a control plane whose state directory is not on this machine.
    `has_token`: the user gave a join token.
    """

    control_plane: str = ""
    advertise: str = ""
    bind: str = ""
    has_token: bool = False


@dataclass(frozen=True, slots=True)
class JoinedInstance:
    """An instance's agent and the lock of its folder, which is `config.state`."""

    config: AgentConfig
    lock: StateLock


@contextmanager
def join_mesh(
    workload: Workload, target: JoinTarget, state: Path | None, timeout: float = JOIN_TIMEOUT
) -> Iterator[JoinedInstance]:
    """The agent's configuration for one workload. Its folder is locked, and removed at the end.

    After an agent that was killed the folder is still there. The next one of that name goes on with its
    Envoy, unless it also ran the app: that belongs to a terminal which is gone.

    A control plane or store that is away may take `timeout` seconds to return. Raises InputError for wrong
    options, UnreachableError if there is no mesh.
    """
    settings = join_settings(target, state)
    private_folder(settings.state)
    remove_abandoned_instances(settings.state, except_for="" if workload.command else workload.name)
    folder = private_folder(settings.state / INSTANCES_FOLDER / workload.name)
    lock = StateLock(folder, f"instance {workload.name}", "choose another --instance, or omit it")
    try:
        if not target.has_token:
            workload = workload.model_copy(update={"token_file": folder / workload.token_file})
            _create_token(workload, target, settings, state, timeout)
        addresses = _control_plane_addresses(workload, target, settings)
        config = agent_config(settings, folder, addresses, workload)
        write_private(folder / AGENT_CONFIG_FILE, config.model_dump_json(indent=1))
        yield JoinedInstance(config, lock)
    finally:
        leave_mesh(lock, folder)


def leave_mesh(lock: StateLock, folder: Path) -> None:
    """Unlock and remove the folder of an instance that has ended."""
    lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def join_settings(target: JoinTarget, state: Path | None) -> Settings:
    """The settings with this node's addresses; raises InputError if other nodes could not reach it."""
    settings = read_settings({**os.environ, **({"MESH_STATE": str(state)} if state else {})})
    advertise = target.advertise or settings.advertise
    if advertise == AUTO_ADDRESS:
        advertise = _source_address(target.control_plane)
    try:
        valid_host(advertise)
    except ValueError as error:
        raise InputError(
            f"--advertise: {error}: give the address at which other nodes reach this one"
        ) from None
    if target.control_plane and not _is_loopback(target.control_plane) and _is_loopback(advertise):
        raise InputError(
            f"--advertise: other machines cannot reach {advertise}: give the address at which "
            f"{target.control_plane} and other nodes reach this one, or `{AUTO_ADDRESS}`"
        )
    bind = target.bind or settings.bind
    if not target.bind and _is_loopback(bind) and not _is_loopback(advertise):
        bind = "::" if ":" in advertise else "0.0.0.0"
    try:
        ip_address(bind)
    except ValueError:
        raise InputError(f"--bind: {bind!r} is not an IP address: give one of this machine") from None
    return replace(settings, advertise=advertise, bind=bind)


def _source_address(control_plane: str) -> str:
    """The source address of connections to the control plane; raises InputError.

    Connecting a datagram socket selects it without sending anything.
    """
    host = control_plane or "127.0.0.1"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with closing(socket.socket(family, kind)) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        reason = error.strerror or "not reachable"
        raise InputError(
            f"--advertise {AUTO_ADDRESS}: no route to {host}: {reason}: give the address"
        ) from None


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, as with the name that Debian gives to 127.0.1.1."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        return all(ip_address(str(entry[4][0])).is_loopback for entry in socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False


def _create_token(
    workload: Workload, target: JoinTarget, settings: Settings, state: Path | None, timeout: float
) -> None:
    """Let the local mesh create a join token for the workload."""
    if target.control_plane:
        raise InputError(
            "--control-plane needs --token-file: create a token with `mesh token create` on that mesh"
        )
    call = calls.create_token(workload.role, workload.service, AGENT_TOKEN_TTL, author())
    created = call_when_available(call, settings, state, timeout)
    write_private(workload.token_file, f"{created['token']}\n")


def _control_plane_addresses(workload: Workload, target: JoinTarget, settings: Settings) -> MeshAddresses:
    """The addresses of the control plane; raises InputError if the join token is not for this workload."""
    path = workload.token_file
    try:
        claims = join_token.parse_unverified(read_token(path))
    except ValueError as error:
        raise InputError(f"{path}:1:1: {error}: create one with `mesh token create`") from None
    identity = claims.identity
    if (identity.role, identity.name) != (workload.role, workload.service):
        raise InputError(
            f"{path}:1:1: this token is for {identity.role} {identity.name}, "
            f"not for {workload.role} {workload.service}"
        )
    if not target.control_plane:
        return local_addresses(settings)
    return remote_addresses(target.control_plane, claims, settings)


def remote_addresses(control_plane: str, claims: JoinTokenClaims, settings: Settings) -> MeshAddresses:
    """The addresses of a control plane on another host, whose CA the token names."""
    host = f"[{control_plane}]" if ":" in control_plane else control_plane
    return MeshAddresses(
        admin="",
        xds=f"{host}:{settings.xds_port}",
        enrolment=f"{host}:{settings.enrolment_port}",
        otlp=f"{host}:{settings.otlp_port}" if settings.otlp_port else "",
        ca_sha256=claims.ca_sha256,
        trust_domain=claims.identity.trust_domain,
    )


def local_addresses(settings: Settings) -> MeshAddresses:
    """The addresses in the state directory; raises UnreachableError if no mesh has run there."""
    path = settings.state / "mesh.json"
    try:
        return MeshAddresses.model_validate_json(read_private(path))
    except FileNotFoundError:
        raise UnreachableError(
            str(settings.state), "it has no mesh.json, and --control-plane is not given"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}:1:1: cannot be read ({type(error).__name__}): restart the mesh") from None


def read_token(path: Path) -> str:
    """The text of a join token's file; raises InputError."""
    try:
        return read_named(path, join_token.TOKEN_LIMIT + 2).decode().strip()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"{path}: cannot read the token: {reason}") from None
    except ValueError:
        raise InputError(f"{path}:1:1: cannot read the token: not text") from None
