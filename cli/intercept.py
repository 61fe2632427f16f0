"""`mesh intercept`: take some of a service's requests to a process of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from meshwright.cli.errors import warn
from meshwright.cli.http import call_api
from meshwright.cli.join.option_groups import option_group
from meshwright.cli.join.options import (
    AppOptions,
    ControlPlaneOption,
    GraceOption,
    InstanceOption,
    LabelOption,
    SidecarTimeoutOption,
    TokenFileOption,
    UpstreamOption,
)
from meshwright.cli.join.setup import JoinTarget
from meshwright.cli.join.workload import parse_port
from meshwright.cli.options import StateOption
from meshwright.cli.run import run_workload
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.models.instances import (
    INTERCEPT_HEADER_LABEL,
    INTERCEPT_PERCENT_LABEL,
    INTERCEPT_VALUE_LABEL,
    Port,
)
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import AppPort

_WORD = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
HEADER = re.compile(rf"(?P<name>{_WORD})=(?P<value>{_WORD})")
"""A header and its value, of what a label may hold."""


HeaderOption = Annotated[
    str, typer.Option("--header", metavar="NAME=VALUE", help="Take the requests with this header.")
]
PercentOption = Annotated[
    int,
    typer.Option(
        "--percent",
        metavar="N",
        min=0,
        max=100,
        show_default=False,
        help="Instead: take N percent of all requests.",
    ),
]
_NO_TCP = (
    "{service} speaks TCP there, in which no request or header can be told apart: intercept one of HTTP "
    "or gRPC, or take its connections as one more instance with `mesh run --service {service}`"
)

PortsOption = Annotated[
    list[str],
    typer.Option(
        "--port",
        metavar="[NAME=]PORT",
        help="Loopback port of the app, as of `mesh run`. Its protocol is that of the service's port of this "
        "name; without a name, of its first. Repeatable. [default: a free one, in $PORT]",
    ),
]


@option_group("app", AppOptions)
def intercept(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The service whose requests are taken.")],
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="Program and arguments. Put -- before them.")
    ],
    *,
    app: AppOptions,
    header: HeaderOption = "",
    percent: PercentOption = 0,
    port: PortsOption = [],  # noqa: B006  typer copies it
    label: LabelOption = [],  # noqa: B006  typer copies it
    upstream: UpstreamOption = [],  # noqa: B006  typer copies it
    instance: InstanceOption = "",
    token_file: TokenFileOption = None,
    control_plane: ControlPlaneOption = "",
    grace: GraceOption = 10.0,
    timeout: SidecarTimeoutOption = 60.0,
    state: StateOption = None,
) -> None:
    """Take some of a service's requests to a process of your own, as long as it runs.

    The process joins the mesh as an instance of the service, with its identity, but gets only the requests
    with the header, or the percentage. All callers and gateways send them to it, whatever their routes say
    about versions. It speaks what the service speaks, HTTP or gRPC; TCP is not intercepted. When it ends,
    however it ends, all is as before: nothing is written to the policies.

    \b
    Example:
      mesh intercept orders --header x-dev=me -- node server.js
      mesh intercept orders --percent 5 --port 8000 -- python -m orders --port 8000
    """
    labels = list(_labels(header, percent))
    offered = () if control_plane else _offered_ports(service, state)
    ports = _app_ports(service, port or ["0"], offered)
    requests = f"requests with {header.replace('=', ': ', 1)}" if header else f"{percent} % of the requests"
    warn(f"{requests} to {service} come here until this command ends")
    run_workload(
        app,
        JoinTarget(control_plane, has_token=token_file is not None),
        ports=ports,
        timeout=timeout,
        state=state,
        service=service,
        instance=instance,
        labels=[*label, *labels],
        upstreams=upstream,
        token_file=token_file,
        command=tuple(command),
        stop_grace=grace,
    )


def _labels(header: str, percent: int) -> Iterator[str]:
    if bool(header) == bool(percent):
        raise InputError("which requests? give --header NAME=VALUE, or --percent N")
    if percent:
        yield f"{INTERCEPT_PERCENT_LABEL}={percent}"
        return
    match = HEADER.fullmatch(header)
    if match is None:
        raise InputError(f"--header {header}: expected NAME=VALUE of letters, digits and . _ - inside")
    yield f"{INTERCEPT_HEADER_LABEL}={match['name'].lower()}"
    yield f"{INTERCEPT_VALUE_LABEL}={match['value']}"


def _offered_ports(name: str, state: StateOption) -> tuple[Port, ...]:
    """The ports of a service; raises InputError unless somebody offers it.

    A misspelt one would be a new service, and of one without instances nobody knows what it speaks.
    """
    from meshwright.control_plane.policies.validation_messages import suggestion

    instances = call_api(calls.instances(), state)["instances"]
    of_service = (item["ports"] for item in instances if item["service"] == name)
    if ports := next((each for each in of_service if each), None):
        return tuple(Port.model_validate(port) for port in ports)
    names: Iterable[str] = {item["name"] for item in call_api(calls.services(), state)["services"]}
    if name in names:
        raise InputError(
            f"{name} has no instance that takes requests: join as the first with `mesh run --service {name}`"
        )
    advice = suggestion(name, sorted(names), "see `mesh get services`")
    raise InputError(f"no such service: {name}: {advice}")


def _app_ports(service: str, texts: Iterable[str], offered: tuple[Port, ...]) -> list[AppPort]:
    """Those of the process: each is one of the service's, so that it gets the same requests.

    Of a mesh elsewhere (`offered` is empty) a port speaks what its name says. Raises InputError.
    """
    return [_app_port(service, text, offered) for text in texts]


def _app_port(service: str, text: str, offered: tuple[Port, ...]) -> AppPort:
    named = "=" in text
    given = parse_port(text if offered or named else f"http={text}", "http", lowest=0)
    requests = [port for port in offered if port.protocol != "tcp"]
    if offered and not named:
        port = requests[0] if requests else offered[0]
    else:
        port = next((each for each in offered if each.name == given.name), given.service_port)
    if offered and port not in offered:
        names = ", ".join(each.name for each in requests)
        raise InputError(f"--port {text}: {service} has no port {given.name}: choose one of {names}")
    if port.protocol == "tcp":
        raise InputError(_NO_TCP.format(service=service))
    return AppPort(**port.model_dump(), app_port=given.app_port)
