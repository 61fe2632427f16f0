"""The ports of a mesh that is about to start: free, or an error that says who has them."""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterator
from dataclasses import replace

from meshwright.cli.launcher import LaunchPlan
from meshwright.cli.leftovers import stop_leftovers
from meshwright.cli.ports import ListenPort, port_conflicts
from meshwright.control_plane.config import read_settings
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.ports import PortAllocator, is_free

SETTINGS = ("admin_port", "xds_port", "enrolment_port", "otlp_port")
"""The control plane's ports."""


def settle_ports(plan: LaunchPlan, *, auto: bool = False) -> LaunchPlan:
    """The plan with ports that are free. With `auto`, others replace those that something else uses.

    Raises InputError with a line for each one that is in use. Whatever held the ports of the control plane
    before is stopped. A gateway that an earlier start left goes on, on its port.
    """
    left = stop_leftovers(plan.settings.state, plan.workload_names)
    serving = {record.name.removesuffix(".proxy") for record in left.serving}
    conflicts = port_conflicts(_listen_ports(plan, serving))
    if not conflicts:
        return plan
    if auto:
        return _with_free_ports(plan, serving)
    raise InputError("\n".join(f"{conflict}, or take free ports by --ports auto" for conflict in conflicts))


def _listen_ports(plan: LaunchPlan, serving: Collection[str]) -> Iterator[ListenPort]:
    settings = plan.settings
    for name in SETTINGS:
        address = settings.admin_bind if name == "admin_port" else settings.bind
        yield ListenPort(address, getattr(settings, name), f"MESH_{name.upper()}")
    for gateway in plan.gateways:
        if gateway.name not in serving:
            subject = f"the port of gateway {gateway.name} in {plan.applied.file}"
            yield ListenPort(settings.bind, gateway.port, subject)


def _with_free_ports(plan: LaunchPlan, serving: Collection[str]) -> LaunchPlan:
    """The plan with other ports for those in use, which this process's children get in their environment."""
    settings = plan.settings
    allocator = PortAllocator(settings.bind, random.random())  # noqa: S311  spread, not secrecy

    def free(port: int) -> int:
        in_use = port and not (is_free(settings.bind, port) and is_free(settings.admin_bind, port))
        return allocator.allocate() if in_use else port

    ports = {f"MESH_{name.upper()}": str(free(getattr(settings, name))) for name in SETTINGS}
    os.environ.update(ports)
    gateways = (item for item in plan.gateways if item.name not in serving)
    changed = {item.name: port for item in gateways if (port := free(item.port)) != item.port}
    return replace(
        plan,
        settings=read_settings({**os.environ, "MESH_STATE": str(settings.state)}),
        applied=plan.applied.with_ports(changed),
    )
