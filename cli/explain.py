"""`mesh explain`: what becomes of a request, before it is sent."""

from __future__ import annotations

import typer

from meshwright.cli.authz_check import probe_lines
from meshwright.cli.call_query import CallQuery, Probe
from meshwright.cli.http import call_api
from meshwright.cli.join.option_groups import option_group
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import colorize, echo, print_data, sanitize
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.call_text import call_lines

DISAGREES = 1
"""The exit code if a sidecar does something else than is explained."""


@option_group("query", CallQuery)
def explain(
    query: CallQuery,
    *,
    probe: Probe = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Explain what becomes of a request, before it is sent, and which policy decides each step.

    The request is not made: the answer is computed from the configuration that the proxies are sent, first
    that of the caller's sidecar or of a gateway, then that of the called service. It says which route takes
    the request and why others do not, what the filters decide, what is changed, and where it goes.

    With --probe a proxy of the caller asks each sidecar of the called service, by the marked request, which
    reaches no app; a token is then one of its headers. The exit code is 1 if one of them says something else.

    \b
    Example:
      mesh explain --from storefront --to orders GET /api/orders/7 -H 'x-user: a'
      mesh explain --from storefront --host api.example.com GET /
      mesh explain --gateway ingress GET /
      mesh explain --gateway ingress --host shop.example.com POST /cart --claim role=customer
    """
    fields = query.fields()
    result = call_api(calls.probe_explained(fields) if probe else calls.explain_call(fields), state)
    if output is Output.table:
        lines = list(call_lines(result["explanation"] if probe else result))
        if probe:
            lines += ("", f"asked by {result['proxy']}")
            lines += probe_lines(result["expected"], result["verdicts"])
        for line in lines:
            echo(colorize(sanitize(line)))
    else:
        print_data(result, output)
    if probe and any(sidecar["verdict"] != result["expected"] for sidecar in result["verdicts"]):
        raise typer.Exit(DISAGREES)
