"""How one process joins a running mesh: who it is, where it enrols, where its agent keeps its files.

Each instance has a folder of its own, `STATE/instances/NAME`, so that any number of them share a host, and
a state directory, with `mesh up` and with each other.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from meshwright.cli.http import call_api
from meshwright.cli.join.workload import TOKEN_FILE, JoinOptions, workload
from meshwright.cli.launcher import envoy_binary
from meshwright.cli.options import author
from meshwright.cli.state_lock import INSTANCES_FOLDER, StateLock, remove_abandoned_instances
from meshwright.control_plane.api import calls, join_token
from meshwright.control_plane.api.errors import UnreachableError
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.config import Settings
from meshwright.control_plane.config import read_settings as read_settings
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.files import private_folder, write_private

TOKEN_TTL = 86400.0
"""Seconds that a minted join token lives: long enough to enrol again after a night's sleep of the machine."""

AUTO_ADDRESS = "auto"
"""In place of an address to advertise: the one by which this machine reaches the control plane."""

_NAME_LIMIT = 63
"""Characters of a DNS label (RFC 1035, 2.3.4), which an instance's name is."""


@contextmanager
def join_mesh(asked: JoinOptions, state: Path | None) -> Iterator[AgentConfig]:
    """The agent's configuration for one instance whose folder is held, and gone again afterwards.

    Raises InputError for what is wrong with the arguments, UnreachableError where no mesh can be found.
    """
    settings = _join_settings(asked, state)
    remove_abandoned_instances(settings.state)
    if not asked.instance:
        workload(replace(asked, instance="unnamed"), settings.state)
        asked = replace(asked, instance=generate_instance_name(asked.service))
    folder = settings.state / INSTANCES_FOLDER / asked.instance
    workload(asked, folder)  # a wrong name must not become a folder
    private_folder(folder)
    held = StateLock(folder, f"instance {asked.instance}", "choose another --instance, or leave it out")
    try:
        addresses = _control_plane_addresses(asked, settings, state, folder)
        yield AgentConfig(
            addresses=addresses,
            state=folder,
            envoy=envoy_binary(),
            bind=settings.bind,
            advertise=settings.advertise,
            trust_domain=addresses.trust_domain,
            otlp=os.environ.get("MESH_OTLP", ""),
            workloads=(workload(asked, folder),),
        )
    finally:
        held.release()
        shutil.rmtree(folder, ignore_errors=True)


def generate_instance_name(service: str) -> str:
    """A name that no other instance of this service has: `orders-run-3fa2c1`."""
    end = f"-run-{secrets.token_hex(3)}"
    return service[: _NAME_LIMIT - len(end)].rstrip("-") + end


def _join_settings(asked: JoinOptions, state: Path | None) -> Settings:
    """The settings, with how other nodes reach this one; raises InputError when they could not."""
    settings = read_settings({**os.environ, **({"MESH_STATE": str(state)} if state else {})})
    advertise = asked.advertise or settings.advertise
    if advertise == AUTO_ADDRESS:
        advertise = _source_address(asked.control_plane)
    if asked.control_plane and not _is_loopback(asked.control_plane) and _is_loopback(advertise):
        raise InputError(
            f"--advertise: {advertise} reaches this machine from nowhere else: "
            f"give the address by which {asked.control_plane} and other nodes reach it, or `{AUTO_ADDRESS}`"
        )
    bind = asked.bind or settings.bind
    if not asked.bind and _is_loopback(bind) and not _is_loopback(advertise):
        bind = "::" if ":" in advertise else "0.0.0.0"
    try:
        ip_address(bind)
    except ValueError:
        raise InputError(f"--bind: {bind!r} is no IP address: give one of this machine's own") from None
    return replace(settings, advertise=advertise, bind=bind)


def _source_address(control_plane: str) -> str:
    """The address of this machine that packets to the control plane carry; raises InputError.

    It is looked up by connecting a datagram socket, which sends nothing.
    """
    host = control_plane or "127.0.0.1"
    try:
        family, kind, _, _, at = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with closing(socket.socket(family, kind)) as probe:
            probe.connect(at)
            return str(probe.getsockname()[0])
    except OSError as error:
        reason = error.strerror or "it cannot be reached"
        raise InputError(
            f"--advertise {AUTO_ADDRESS}: no way to {host}: {reason}: give the address itself"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _control_plane_addresses(
    asked: JoinOptions, settings: Settings, state: Path | None, folder: Path
) -> MeshAddresses:
    """Where the control plane answers that honours the join token; one is made where none is given."""
    if asked.token_file is None:
        if asked.control_plane:
            raise InputError("--control-plane needs --token-file: make one with `mesh token create` there")
        made = call_api(calls.create_token(asked.role, asked.service, TOKEN_TTL, author()), state)
        write_private(folder / TOKEN_FILE, f"{made['token']}\n")
        return _local_addresses(settings)
    token = _read_token(asked.token_file)
    try:
        claims = join_token.parse_unverified(token)
    except ValueError as error:
        raise InputError(f"{asked.token_file}:1:1: {error}: make one with `mesh token create`") from None
    if (claims.identity.role, claims.identity.name) != (asked.role, asked.service):
        raise InputError(
            f"{asked.token_file}:1:1: is of {claims.identity.role} {claims.identity.name}, "
            f"not of {asked.role} {asked.service}: give its own token"
        )
    if not asked.control_plane:
        return _local_addresses(settings)
    host = f"[{asked.control_plane}]" if ":" in asked.control_plane else asked.control_plane
    return MeshAddresses(
        admin="",
        xds=f"{host}:{settings.xds_port}",
        enrolment=f"{host}:{settings.enrolment_port}",
        otlp=f"{host}:{settings.otlp_port}" if settings.otlp_port else "",
        ca_sha256=claims.ca_sha256,
        trust_domain=claims.identity.trust_domain,
    )


def _local_addresses(settings: Settings) -> MeshAddresses:
    """Where the control plane of the state directory answers; raises UnreachableError where none has run."""
    path = settings.state / "mesh.json"
    try:
        return MeshAddresses.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UnreachableError(str(settings.state), "no mesh.json there, and no --control-plane") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}:1:1: cannot be read ({type(error).__name__}): start the mesh anew"
        ) from None


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(join_token.TOKEN_LIMIT + 2).decode().strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{path}:1:1: the token cannot be read: {reason}") from None
