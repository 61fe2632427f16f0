"""What an upgrade replaces, in which order, and why. Pure.

The control plane comes first: it understands agents of the version before, as its API's readers ignore what
they do not know. Envoys come last, because a new Envoy may need what only a new control plane sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

StepAction = Literal["replace", "hot restart", "replace with its app", "interrupt", "leave", "unchanged"]
"""replace: nothing notices. hot restart: a new Envoy takes over the ports of the old one, which finishes its
requests. replace with its app: a new instance first, then the old one drains. interrupt:
the old one stops first, since both need one port. leave: it needs an option, or another host."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An Envoy of this host with the version that it reports; empty: unknown.

    `obstacle`: why the installed Envoy cannot take over from it; empty if it can. `agent`: the folder of its
    agent. `replaceable`: a second instance can be started beside it (see Workload).
    """

    name: str
    service: str
    role: str
    version: str
    obstacle: str = ""
    agent: Path = Path()
    replaceable: bool = True


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """The agent of an instance of `mesh run` or `mesh agent` with its version; empty: unknown.

    `obstacle`: why the installed version cannot go on in its place; empty if it can.
    """

    name: str
    version: str
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class UpgradeStep:
    """One part: the version that runs, the installed one, what is done, and a note for people."""

    part: str
    running: str
    installed: str
    action: StepAction
    note: str = ""

    @property
    def is_due(self) -> bool:
        """Whether something is done."""
        return self.action not in ("leave", "unchanged")


def supervisor_steps(running: Mapping[str, str], installed: str, *, force: bool) -> list[UpgradeStep]:
    """The steps for store, control plane and agent, by the version that each of them runs.

    They are replaced together: one `mesh up` supervises all three.
    """
    due = force or any(version != installed for version in running.values())
    action: StepAction = "replace" if due else "unchanged"
    return [UpgradeStep(part, version, installed, action) for part, version in running.items()]


def agent_steps(agents: Iterable[RunningAgent], installed: str, *, force: bool) -> list[UpgradeStep]:
    """The steps for the agents of instances that joined by themselves."""
    steps = []
    for agent in agents:
        due = force or agent.version != installed
        action: StepAction = "unchanged" if not due else "leave" if agent.obstacle else "replace"
        note = agent.obstacle if due else ""
        steps.append(UpgradeStep(f"agent of {agent.name}", agent.version, installed, action, note))
    return steps


def proxy_steps(
    proxies: Iterable[Proxy], installed: str, *, force: bool, gateways: bool
) -> list[UpgradeStep]:
    """The steps for the Envoys of this host, services first, so that a gateway calls none that is going."""
    steps = []
    for proxy in sorted(proxies, key=lambda item: (item.role == "gateway", item.service, item.name)):
        part = _part(proxy)
        if proxy.version == installed and not force:
            steps.append(UpgradeStep(part, proxy.version, installed, "unchanged"))
        else:
            action, note = _replacement(proxy, gateways=gateways)
            steps.append(UpgradeStep(part, proxy.version, installed, action, note))
    return steps


def _replacement(proxy: Proxy, *, gateways: bool) -> tuple[StepAction, str]:
    """How an Envoy is replaced, and a note on it."""
    if not proxy.obstacle:
        return "hot restart", ""
    if not proxy.replaceable:
        return "leave", f"{proxy.obstacle}: start {proxy.name} again"
    if proxy.role != "gateway":
        return "replace with its app", ""
    if gateways:
        return "interrupt", f"its port is closed for about a second: {proxy.obstacle}"
    return "leave", f"{proxy.obstacle}: --gateways replaces it, and closes its port for about a second"


def hot_restarts(steps: Sequence[UpgradeStep], proxies: Iterable[Proxy]) -> list[Proxy]:
    """The proxies that hand over, in the order of the steps."""
    by_part = {_part(proxy): proxy for proxy in proxies}
    return [by_part[step.part] for step in steps if step.action == "hot restart"]


def _part(proxy: Proxy) -> str:
    return f"Envoy of {proxy.name}"


def reasons(steps: Sequence[UpgradeStep], proxies: Iterable[Proxy]) -> dict[str, str]:
    """Why each service's instances are replaced, for those with an Envoy that cannot hand over."""
    due = {step.part: step for step in steps if step.is_due and step.action != "hot restart"}
    texts = {}
    for proxy in proxies:
        step = due.get(_part(proxy))
        if step is not None:
            texts[proxy.service] = f"Envoy {step.running or 'unknown'} → {step.installed}"
    return texts
