"""`mesh upgrade`: replace the parts of a running mesh by the installed version."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.errors import CommandError
from meshwright.cli.foreground import launch
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import colorize, echo, flush, print_data, print_table, sanitize, status_text
from meshwright.cli.progress import print_progress
from meshwright.cli.reconcile.options import ChangeDryRunOption, ReadyTimeoutOption
from meshwright.cli.reconcile.runner import ChangeRunner, changes_to, changing, running_workloads
from meshwright.cli.state_lock import holder
from meshwright.cli.upgrade.envoy_version import envoy_version
from meshwright.cli.upgrade.joined import LocalInstance, local_instances, replace_agent
from meshwright.cli.upgrade.running_mesh import (
    RunningMesh,
    end_supervisor,
    find_running_mesh,
    successor_environment,
)
from meshwright.cli.upgrade.steps import (
    Proxy,
    UpgradeStep,
    agent_steps,
    hot_restarts,
    proxy_steps,
    reasons,
    supervisor_steps,
)
from meshwright.control_plane.api import calls, errors, mesh_locator
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.envoy_binary import envoy_binary
from meshwright.sidecar import control_client, hot_restart
from meshwright.sidecar.hot_restart import sidecar_folder


def upgrade(
    *,
    gateways: Annotated[
        bool,
        typer.Option(
            "--gateways",
            help="Also replace gateways' Envoys that cannot hand over, which closes their ports.",
        ),
    ] = False,
    envoys: Annotated[
        bool, typer.Option("--envoys", help="Also replace Envoys of the installed version.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also replace a control plane and agent of the installed version.")
    ] = False,
    dry_run: ChangeDryRunOption = False,
    timeout: ReadyTimeoutOption = 60.0,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Have a mesh of `mesh up` go on with the version that is installed now, while it serves.

    First `mesh up` with store, control plane and agent: Envoys and apps go on meanwhile, and so do requests
    and streams. Then, if another Envoy is installed, each service's instances one by one: a new one serves
    before the old one is drained. Gateways follow by hot restart: the new Envoy takes over the ports, and the
    old one finishes its requests. Where that is impossible a gateway is left alone without --gateways.

    What was started in the foreground goes on in the background. The agents of `mesh run` and `mesh agent` in
    this state directory follow: each goes on as the installed version, in the same process, beside its Envoy
    and app. Where several hosts have a control plane, upgrade one after the other.

    \b
    Example:
      pip install --upgrade meshwright && mesh upgrade --dry-run
      mesh upgrade
    """
    folder = mesh_locator.local_state_dir(os.environ, state)
    quiet = output is not Output.table
    with changing(folder):
        binary = envoy_binary()
        instances = local_instances(folder, binary)
        running = None if instances and holder(folder) is None else find_running_mesh(folder)
        supervised = supervisor_steps(_supervised_versions(folder), VERSION, force=force) if running else []
        agents = agent_steps((item.agent for item in instances), VERSION, force=force)
        proxies = _proxies(folder) if running else []
        proxies += [item.proxy for item in instances if item.proxy]
        replaced = proxy_steps(proxies, envoy_version(binary), force=envoys, gateways=gateways)
        steps = [*supervised, *agents, *replaced]
        _show(steps, output, dry_run=dry_run)
        if dry_run:
            return
        if running and any(step.is_due for step in supervised):
            _replace_supervisor(running, timeout, quiet=quiet)
        due_instances = [item for item, step in zip(instances, agents, strict=True) if step.is_due]
        _replace_agents(due_instances, timeout, quiet=quiet)
        if due := reasons(replaced, proxies):
            _replace_proxies(folder, due, timeout, quiet=quiet)
        _hot_restart(hot_restarts(replaced, proxies), quiet=quiet)
    if not quiet:
        done = sum(step.is_due for step in steps)
        echo(colorize(status_text("good", f"{done} of {len(steps)} parts replaced; see `mesh version`")))


def _supervised_versions(state: Path) -> dict[str, str]:
    """The versions of what `mesh up` supervises; empty for one that does not say it."""
    try:
        agent = control_client.fetch_status(state).version
    except (OSError, ValueError):
        agent = ""
    control_plane = call_api(calls.status(), state).get("version", "")
    return {"control plane": control_plane, "agent": agent}


def _proxies(state: Path) -> list[Proxy]:
    """The Envoys that the agent of this state directory runs."""
    reported = {(item["service"], item["name"]): item for item in call_api(calls.proxies(), state)["proxies"]}
    pids = {item.name: item.pids.get("proxy", 0) for item in control_client.fetch_status(state).workloads}
    binary = envoy_binary()
    return [
        Proxy(
            workload.name,
            workload.service,
            workload.role,
            reported.get((workload.service, workload.name), {}).get("version", ""),
            hot_restart.obstacle(sidecar_folder(state, workload.name), pids.get(workload.name, 0), binary),
            agent=state,
            replaceable=workload.role == "gateway" or workload.is_replaceable,
        )
        for workload in running_workloads(state)
    ]


def _show(steps: Sequence[UpgradeStep], output: Output, *, dry_run: bool) -> None:
    if output is not Output.table:
        print_data({"items": [asdict(step) for step in steps], "dry_run": dry_run}, output)
        return
    rows = [(step.part, step.running or "unknown", step.installed, step.action, step.note) for step in steps]
    print_table(("PART", "RUNNING", "INSTALLED", "ACTION", "NOTE"), rows)
    if dry_run:
        echo("dry run: nothing was changed")
    flush()


def _replace_supervisor(running: RunningMesh, timeout: float, *, quiet: bool) -> None:
    """End the `mesh up` of before and start one that takes over what serves."""
    environment = successor_environment(running, os.environ)
    end_supervisor(running)
    if not quiet:
        text = f"mesh up (pid {running.process.pid}) ended, Envoys and apps go on"
        echo(colorize(sanitize(status_text("partial", text))))
        flush()
    try:
        arguments = ("up", "--resume", "--timeout", f"{timeout:g}s")
        launch(running.state, arguments, environment, running.folder, quiet=quiet)
    except typer.Exit as failure:
        advice = (
            "what serves goes on, without a control plane: correct the cause and run `mesh up -f FILE`, "
            "with this version or the one before"
        )
        text = f"{running.state}: the installed version did not start: {advice}"
        raise CommandError(failure.exit_code, text) from None


def _replace_agents(instances: Sequence[LocalInstance], timeout: float, *, quiet: bool) -> None:
    """Have the installed version go on with them one by one; raises CommandError for the first that fails."""
    for instance in instances:
        replace_agent(instance, os.environ, timeout)
        if not quiet:
            print_progress("good", instance.agent.name, "the installed version went on with it")


def _hot_restart(proxies: Sequence[Proxy], *, quiet: bool) -> None:
    """Have new Envoys take over one by one; raises CommandError for the first that fails."""
    for proxy in proxies:
        try:
            control_client.replace_proxy(proxy.agent, proxy.name)
        except (OSError, ValueError) as error:
            advice = "the Envoy of before goes on, and later ones were not replaced"
            raise CommandError(
                errors.FAILED, f"{proxy.name}: hot restart failed: {error}: {advice}"
            ) from None
        if not quiet:
            print_progress("good", f"{proxy.name}.proxy", "a new Envoy took over")


def _replace_proxies(state: Path, due: dict[str, str], timeout: float, *, quiet: bool) -> None:
    """Replace the instances of services one by one, and the gateways after them."""
    workloads = [item for item in running_workloads(state) if item.service in due]
    changes = changes_to(workloads, workloads, state, due)
    report = (lambda *_: None) if quiet else print_progress
    asyncio.run(ChangeRunner(state, timeout, report).run(changes))
