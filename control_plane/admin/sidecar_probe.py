"""Asks the sidecars of a called service for their verdict on a call, by marked requests (api/probes.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from meshwright.control_plane.admin.protocols import RunCommand
from meshwright.control_plane.api.models.authorization import AccessQuery, SidecarVerdict
from meshwright.control_plane.errors import MeshError
from meshwright.control_plane.status import access_probe
from meshwright.control_plane.status.access_probe import ProbePlan

PlanProbe = Callable[[AccessQuery], ProbePlan]
"""How to probe a call; see status.access_probe."""

DiscountProbes = Callable[[ProbePlan, int], None]
"""Takes the plan, and how many probes passed the rules of instances: these are no calls of the caller."""


class SidecarProbe:
    """Probes by a proxy of the caller, which reach no application."""

    def __init__(self, plan: PlanProbe, discount: DiscountProbes, run_command: RunCommand) -> None:
        self._plan = plan
        self._discount = discount
        self._run_command = run_command

    async def ask(self, query: AccessQuery) -> tuple[str, tuple[SidecarVerdict, ...]]:
        """The proxy of the caller that asked, and the verdicts of up to eight sidecars.

        Raises InputError, NotFoundError and CommandTimeoutError as status.access_probe does.
        """
        plan = self._plan(query)
        verdicts = await asyncio.gather(*(self._ask(plan, *entry) for entry in plan.arguments))
        self._discount(plan, sum(entry.verdict == "allowed" for entry in verdicts))
        return plan.proxy, tuple(verdicts)

    async def _ask(self, plan: ProbePlan, instance: str, argument: str) -> SidecarVerdict:
        try:
            result = await self._run_command(plan.proxy, "probe", argument, plan.caller)
        except MeshError as error:
            return access_probe.unknown(instance, str(error))
        return access_probe.verdict(instance, result)
