"""`mesh consul`: a registry on this host for applications that use Consul's API."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshwright.cli.agent_config import agent_config
from meshwright.cli.errors import CommandError
from meshwright.cli.join.grpc_log import silence_grpc
from meshwright.cli.join.options import AdvertiseOption, BindOption, ControlPlaneOption
from meshwright.cli.join.setup import JoinTarget, join_settings, local_addresses, remote_addresses
from meshwright.cli.join.token_folder import TokenFolder
from meshwright.cli.options import StateOption, author
from meshwright.cli.state_lock import INSTANCES_FOLDER, StateLock, remove_abandoned_instances
from meshwright.cli.token import AGENT_TOKEN_TTL
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.host_suffixes import DOMAINS
from meshwright.control_plane.api.mesh_locator import located_state_dir
from meshwright.control_plane.api.private_files import private_folder, read_named
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import AgentConfig

if TYPE_CHECKING:
    from meshwright.sidecar.consul.server import ConsulSettings

NAME = "consul-registry"
"""Its folder among those of instances."""

FILE = "consul-services.json"
TOKEN_LIMIT = 1024

HttpPortOption = Annotated[
    int,
    typer.Option("--http-port", metavar="PORT", min=0, max=65535, help="Port of Consul's HTTP API. 0: none."),
]
DnsPortOption = Annotated[
    int,
    typer.Option(
        "--dns-port", metavar="PORT", min=0, max=65535, help="Port of Consul's DNS, UDP and TCP. 0: none."
    ),
]
DomainOption = Annotated[
    list[str],
    typer.Option(
        "--domain",
        metavar="NAME",
        help="Domain below which services have names in DNS. Repeatable. [default: those of MESH_DOMAINS, or "
        "service.consul, service.dc1.consul, mesh]",
    ),
]
AclTokenOption = Annotated[
    Path | None,
    typer.Option(
        "--acl-token-file",
        metavar="FILE",
        help="File with the token that clients send as X-Consul-Token. [default: every process of this "
        "host may register and look up]",
    ),
]

CallerOption = Annotated[
    str,
    typer.Option(
        "--caller",
        metavar="NAME",
        help="Service as which clients call that are no registered service, such as a resolver or a shell. "
        "[default: the host's only registered service, else consul-clients]",
    ),
]

TcpOption = Annotated[
    list[str],
    typer.Option(
        "--tcp",
        metavar="NAME",
        help="Service that speaks TCP, such as a database, though its registration does not say so by "
        "Meta protocol=tcp. Repeatable.",
    ),
]

TokenFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--token-folder",
        metavar="DIR",
        help="With --control-plane: a join token for each service that may register here, in a file of the "
        "service's name.",
    ),
]


def consul(
    *,
    http_port: HttpPortOption = 8500,
    dns_port: DnsPortOption = 8600,
    domain: DomainOption = [],  # noqa: B006  typer copies it
    acl_token_file: AclTokenOption = None,
    caller: CallerOption = "",
    tcp: TcpOption = [],  # noqa: B006  typer copies it
    control_plane: ControlPlaneOption = "",
    token_folder: TokenFolderOption = None,
    advertise: AdvertiseOption = "",
    bind: BindOption = "",
    state: StateOption = None,
) -> None:
    """Serve Consul's API for service discovery to the applications of this host.

    An application that registers itself as at a Consul agent gets a sidecar and is part of the mesh. Its
    checks decide whether it gets calls. What it looks up, by HTTP or DNS, are loopback addresses that lead
    through its sidecar to healthy instances, by mutual TLS. Listens on loopback only. Logs go to stderr as
    JSON.

    \b
    Example:
      mesh consul
      mesh consul --acl-token-file consul.token --domain service.consul
      mesh consul --control-plane mesh.internal --advertise auto --token-folder /etc/meshwright/tokens
      curl http://127.0.0.1:8500/v1/catalog/services
      dig @127.0.0.1 -p 8600 orders.service.consul SRV
    """
    silence_grpc()
    from meshwright.cli.join.runner import log_to  # imports gRPC
    from meshwright.sidecar.consul.server import DEFAULT_DOMAINS, ConsulSettings

    tokens = _token_folder(control_plane, token_folder)
    settings = join_settings(JoinTarget(control_plane, advertise=advertise, bind=bind), state)
    registry = ConsulSettings(
        file=settings.state / FILE,
        http_port=http_port,
        dns_port=dns_port,
        domains=tuple(_domain(text) for text in domain) or _domains_of_mesh(settings) or DEFAULT_DOMAINS,
        token=_read_token(acl_token_file) if acl_token_file else "",
        caller=_service_name("--caller", caller),
        tcp_services=tuple(_service_name("--tcp", name) for name in tcp),
    )
    private_folder(settings.state)
    addresses = (
        remote_addresses(control_plane, tokens.any_claims(), settings)
        if tokens
        else local_addresses(settings)
    )
    remove_abandoned_instances(settings.state)
    folder = private_folder(settings.state / INSTANCES_FOLDER / NAME)
    lock = StateLock(folder, "`mesh consul`", "a state directory has one: stop it")
    log_to(sys.stderr)
    try:
        config = agent_config(settings, folder, addresses)
        asyncio.run(_serve(config, registry, None if tokens else state, tokens))
    except OSError as error:
        raise CommandError(errors.FAILED, f"cannot serve: {errors.os_error_text(error)}") from None
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


async def _serve(
    config: AgentConfig, registry: ConsulSettings, state: Path | None, tokens: TokenFolder | None
) -> None:
    from meshwright.control_plane.api.client import Client
    from meshwright.sidecar.consul.server import MeshCalls, serve

    async with Client.locate(state) as client:

        async def join_token(service: str) -> str:
            if tokens:
                return await asyncio.to_thread(tokens.read, service)
            return (await client.create_token("service", service, AGENT_TOKEN_TTL, author())).token

        await serve(config, registry, MeshCalls(client.instances, join_token))


def _token_folder(control_plane: str, folder: Path | None) -> TokenFolder | None:
    """The folder, for a control plane elsewhere; raises InputError for what is missing then."""
    if bool(control_plane) != bool(folder):
        raise InputError("--control-plane and --token-folder: give both, or none for the mesh of --state")
    if folder is None:
        return None
    if located_state_dir(os.environ, None) is not None:
        raise InputError(
            "--control-plane: services are read from the mesh's admin API: set MESH_API to its address and "
            "MESH_TOKEN_FILE to its read-only token"
        )
    return TokenFolder(folder)


def _service_name(option: str, name: str) -> str:
    if name and not re.fullmatch(NAME_PATTERN, name):
        raise InputError(
            f"{option} {name[:63]}: not the name of a service: lower-case letters, digits, hyphens"
        )
    return name


def _read_token(path: Path) -> str:
    try:
        token = read_named(path, TOKEN_LIMIT).decode().strip()
    except (OSError, ValueError):
        raise InputError(f"{path}: cannot read the token: give a text file of one line") from None
    if not token:
        raise InputError(f"{path}: it is empty: write the token that clients send into it")
    return token


def _domains_of_mesh(settings: Settings) -> tuple[str, ...]:
    """Those of MESH_DOMAINS, if it says more than what every mesh has: names that sidecars know."""
    return settings.host_domains if settings.host_domains != DOMAINS else ()


def _domain(text: str) -> str:
    labels = text.strip(".").split(".")
    if not all(label and len(label) < 64 and label.replace("-", "").isalnum() for label in labels):
        raise InputError(f"--domain {text}: not a domain: give one such as service.consul")
    return ".".join(labels).lower()
