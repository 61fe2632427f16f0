"""`mesh authz check|matrix|suggest`: who may call what, by the policies in force and by what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from meshwright.cli.authz_check import LEVELS, check_lines, probe_lines
from meshwright.cli.call_query import CallQuery, Probe
from meshwright.cli.durations import duration_parser
from meshwright.cli.http import call_api
from meshwright.cli.join.option_groups import option_group
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import SIGNS, colorize, echo, print_data, print_table, sanitize
from meshwright.cli.resource_names import name_parser
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api import calls
from meshwright.control_plane.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

REFUSED = 1
"""The exit code of `check` for a call that would be refused."""

REMEMBERED_SECONDS = 3600.0
"""How long the mesh remembers who called what."""


@app.callback()
def authz() -> None:
    """Show who may call what, check one call, or write the policies that allow what was seen.

    \b
    Example:
      mesh authz matrix
      mesh authz check --from orders --to inventory POST /reservations
      mesh authz suggest > authorization.yaml
    """


@app.command(cls=MeshCommand)
@option_group("query", CallQuery)
def check(
    query: CallQuery,
    *,
    probe: Probe = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Say whether a call would be let through, by which policy, where that is, and who changed it last.

    The call is not made: the control plane decides by the rules that the sidecars of the called service
    have. With --probe a proxy of the caller asks each of them, by a marked request that reaches no app; a
    token is then one of its headers. The exit code is 0 if the call is allowed, and 1 if it is refused or a
    sidecar says something else.

    \b
    Example:
      mesh authz check --from orders --to inventory POST /reservations
      mesh authz check --from orders --to inventory --probe POST /reservations
      mesh authz check --gateway ingress --host shop.example.com GET /admin --claim role=admin
    """
    fields = query.fields()
    result = call_api(calls.probe_access(fields) if probe else calls.check_access(fields), state)
    verdict = result["check"] if probe else result
    if output is Output.table:
        lines = list(check_lines(verdict, query.caller or "anybody", query.service or query.gateway))
        if probe:
            lines += probe_lines("allowed" if verdict["allowed"] else "denied", result["verdicts"])
        for line in lines:
            echo(colorize(sanitize(line)))
    else:
        print_data(result, output)
    if not verdict["allowed"] or any(item["verdict"] != "allowed" for item in result.get("verdicts", ())):
        raise typer.Exit(REFUSED)


@app.command(cls=MeshCommand)
def matrix(
    services: Annotated[
        list[str] | None,
        typer.Argument(metavar="SERVICE", parser=name_parser("service"), help="Only these called services."),
    ] = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show who may call what: ● everything, ▲ some requests, × nothing. A column is a called service.

    \b
    Example:
      mesh authz matrix
      mesh authz matrix inventory payments
    """
    result = call_api(calls.access_matrix(), state)
    if services:
        names = {row["service"] for row in result["services"]}
        if unknown := sorted(set(services) - names):
            raise InputError(f"{', '.join(unknown)}: no such service: they are {', '.join(sorted(names))}")
        result = {**result, "services": [row for row in result["services"] if row["service"] in services]}
    if output is not Output.table:
        print_data(result, output)
        return
    rows = result["services"]
    header = ("FROM", *(row["service"] for row in rows))
    print_table(header, [*client_rows(rows), *matrix_rows(result["callers"], rows)])


@app.command(cls=MeshCommand)
def suggest(
    since: Annotated[
        float,
        typer.Option(
            "--since",
            metavar="DURATION",
            parser=duration_parser(1, 86_400),
            help="Calls of this time; the mesh remembers an hour.",
            show_default="1h",
        ),
    ] = REMEMBERED_SECONDS,
    state: StateOption = None,
) -> None:
    """Write the Authorizations that allow the calls that were seen, and nothing else, for review.

    One document for each called service, as YAML. Callers are counted; methods, paths and gRPC methods are
    those of requests that were recorded: traced, failed or slow ones, and all during `mesh tap`. Where too
    few of a caller were, it may call everything. What happens rarely may be missing: compare it with what you
    know, and run it with `enforcement: audit` first.

    \b
    Example:
      mesh authz suggest > authorization.yaml
      mesh authz suggest --since 5m | mesh diff -f -
    """
    from meshwright.cli.authz_suggest import suggestion_lines

    observed = call_api(calls.observed_calls(min(since, REMEMBERED_SECONDS)), state)
    if not observed["calls"]:
        raise InputError("no call between services was seen: let traffic flow first")
    echo("\n".join(suggestion_lines(observed["calls"], observed["seconds"])))


def matrix_rows(callers: Sequence[str], services: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """A row for each caller: what it may do at each service."""
    for caller in callers:
        cells = (SIGNS[LEVELS[row["callers"].get(caller, row["others"])]] for row in services)
        yield [caller, *cells]


def client_rows(services: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """A row for the clients of each gateway; a service without a route has an empty cell."""
    for gateway in sorted({name for row in services for name in row["clients"]}):
        may = [row["clients"].get(gateway) for row in services]
        yield [f"outside → {gateway}", *(SIGNS[LEVELS[access]] if access else "" for access in may)]
