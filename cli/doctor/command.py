"""`mesh doctor`: what is wrong with a mesh and its host, why it matters and what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from meshwright.cli.doctor import host_checks, mesh_checks
from meshwright.cli.doctor.facts import Facts
from meshwright.cli.doctor.findings import Finding
from meshwright.cli.doctor.host import gather_host
from meshwright.cli.doctor.mesh import gather_mesh
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import colorize, echo, print_data, sanitize, status_text
from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.errors import MeshError


def doctor(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Check this host and the mesh: what is wrong, why it matters, what to do. Exit code 1 if anything is.

    Of the host: ports, Envoy, inotify, open files, disk, processes of old runs, apps that call past the
    mesh or can be called past it, the age of the admin token; no ports for a mesh of another host
    (--context, MESH_API). Of the mesh, if it answers: clock, store, certificates, join tokens, versions,
    proxies that do not respond. What the mesh does with requests is shown by `mesh status`.

    \b
    Example:
      mesh doctor
      mesh doctor -o json | jq -r '.items[] | .message + ": " + .action'
    """
    facts = gather(state)
    findings = diagnose(facts)
    if output is not Output.table:
        document = {"healthy": not findings, "mesh": facts.mesh is not None, "unreachable": facts.unreachable}
        print_data({**document, "items": [asdict(finding) for finding in findings]}, output)
    else:
        _print(facts, findings)
    if findings:
        raise typer.Exit(errors.FAILED)


def gather(state: Path | None) -> Facts:
    """The facts of this host, and of the mesh if there is one that answers."""
    located = mesh_locator.located_state_dir(os.environ, state)
    remote = located is None
    host = gather_host(located or mesh_locator.state_dir(os.environ, state), os.environ, remote=remote)
    try:
        return Facts(host, gather_mesh(state), remote=remote)
    except MeshError as error:
        return Facts(host, unreachable=str(error), remote=remote)


def diagnose(facts: Facts) -> list[Finding]:
    """Everything that is wrong, errors first."""
    findings = [finding for check in host_checks.CHECKS.values() for finding in check(facts.host)]
    if facts.mesh is not None:
        findings += [finding for check in mesh_checks.CHECKS.values() for finding in check(facts.mesh)]
    elif facts.remote or facts.host.running:
        findings.append(_unreachable(facts))
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _unreachable(facts: Facts) -> Finding:
    """The finding about a control plane that should answer: a named one elsewhere, or one that runs here."""
    action = (
        "see that it runs there, that its address leads there from here, and that the token is its own"
        if facts.remote
        else f"read {facts.host.state}/logs/control-plane.log"
    )
    why = "what is configured goes on, but nothing can be changed or seen"
    return Finding("control plane", "error", facts.unreachable, why, action)


def _print(facts: Facts, findings: Sequence[Finding]) -> None:
    for finding in findings:
        level = status_text("bad" if finding.severity == "error" else "partial", finding.check)
        echo(colorize(sanitize(f"{level}: {finding.message}")))
        echo(sanitize(f"  why: {finding.why}"))
        echo(sanitize(f"  do:  {finding.action}"))
    if facts.mesh is None and not facts.remote and not facts.host.running:
        echo(colorize(sanitize(status_text("off", f"no mesh was checked: {facts.unreachable}"))))
    if not findings:
        names = (*host_checks.CHECKS, *(mesh_checks.CHECKS if facts.mesh is not None else ()))
        echo(colorize(status_text("good", f"nothing is wrong: {', '.join(names)}")))
