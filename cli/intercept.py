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
    PortProtocol,
    SidecarTimeoutOption,
    TokenFileOption,
    UpstreamOption,
)
from meshwright.cli.join.setup import JoinTarget
from meshwright.cli.options import StateOption
from meshwright.cli.run import run_workload
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.models.instances import (
    INTERCEPT_HEADER_LABEL,
    INTERCEPT_PERCENT_LABEL,
    INTERCEPT_VALUE_LABEL,
)
from meshwright.control_plane.errors import InputError

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
PortsOption = Annotated[
    list[str],
    typer.Option(
        "--port",
        metavar="[NAME=]PORT",
        help="Loopback port of the app, as of `mesh run`. Repeatable. [default: a free one, in $PORT]",
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
    about versions. When it ends, however it ends, all is as before: nothing is written to the policies.

    \b
    Example:
      mesh intercept orders --header x-dev=me -- node server.js
      mesh intercept orders --percent 5 --port 8000 -- python -m orders --port 8000
    """
    labels = list(_labels(header, percent))
    if not control_plane:
        _check_service(service, state)
    requests = f"requests with {header.replace('=', ': ', 1)}" if header else f"{percent} % of the requests"
    warn(f"{requests} to {service} come here until this command ends")
    run_workload(
        app,
        JoinTarget(control_plane, has_token=token_file is not None),
        ports=port or ["0"],
        protocol=PortProtocol.http,
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


def _check_service(name: str, state: StateOption) -> None:
    """Raise InputError unless somebody offers the service: a misspelt one would be a new service."""
    from meshwright.control_plane.policies.validation_messages import suggestion

    names: Iterable[str] = {item["name"] for item in call_api(calls.services(), state)["services"]}
    if name not in names:
        advice = suggestion(name, sorted(names), "see `mesh get services`")
        raise InputError(f"no such service: {name}: {advice}")
