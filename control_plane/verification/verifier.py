"""Verifies a change of documents: translates both sides, and asks the scratch Envoy about what differs."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from meshwright.control_plane.config import Settings
from meshwright.control_plane.core.changed_world import rule_count, with_documents
from meshwright.control_plane.core.resource import Resource
from meshwright.control_plane.core.snapshot import ResourceKey
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.errors import LimitExceededError
from meshwright.control_plane.verification.candidates import Candidate, Content, candidates, content
from meshwright.control_plane.verification.conversation import Conversation
from meshwright.control_plane.verification.scratch_envoy import EnvoyEndedError, ScratchEnvoy
from meshwright.control_plane.verification.scratch_node import ScratchNode
from meshwright.control_plane.worker.process import stream_from_process

BUDGET_SECONDS = 10.0
"""How long a change may be verified. 100 services with changed listeners take about 5 s on two cores."""

SECONDS_PER_SERVICE = 0.05
"""What a larger mesh may take longer."""

MAX_SECONDS = 25.0
"""A client of the admin API waits 30 s (api.calls). What Envoy has accepted by then is not checked again."""

SMALL_CHANGE = 200
"""Documents, rules and matches that a thread translates within a tenth of a second. More are translated in
a process of their own, which leaves the event loop alone and ends with its client."""

REMEMBERED = 50_000
"""Contents that Envoy has accepted; each is some 150 bytes."""

HOST_FILES = re.compile(
    r"unable to (open|read) file|filesystem watch|(from|Invalid|existing) path|Permission denied|No such file"
)
"""Envoy's words for a file that it cannot use. The scratch Envoy has none: the proxies' hosts may."""

IDLE_SECONDS = 300.0
"""How long an unused Envoy stays: a person who edits policies finds it warm."""

Document = Mapping[str, Any]

Edit = tuple[Sequence[Document], Sequence[Document]]
"""The documents before and after a change."""

Part = tuple[str, ...] | Candidate
"""Of a comparison: what cannot be translated after a change and could before it, or what to verify."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Objection:
    """What Envoy, or the translation, says against a change.

    `resource` is such as `VirtualHost out/orders`, `owner` the service or gateway whose proxies would get it;
    both are empty for what cannot be translated. `policies` are the refs that shaped the resource.
    """

    message: str
    resource: str = ""
    owner: str = ""
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvoyVerdict:
    """The objections of a change. `unverified` says why Envoy has not been asked about all of it, if so."""

    objections: tuple[Objection, ...] = ()
    unverified: str = ""


class Verifier:
    """Verifies one change at a time; without an Envoy it accepts everything.

    `report` tells `mesh status` why nothing can be verified; `budget` is in seconds, by default by the mesh's
    size.
    """

    def __init__(
        self,
        served: Callable[[], Translation | None],
        envoy: ScratchEnvoy | None,
        report: Callable[[str], None],
        budget: float | None = None,
    ) -> None:
        self._served = served
        self._envoy = envoy
        self._report = report
        self._budget = budget
        self._accepted: OrderedDict[Content, None] = OrderedDict()
        self._turn = asyncio.Lock()
        self._comparison: asyncio.Future[list[Part]] | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def verify(self, before: Sequence[Document], after: Sequence[Document]) -> EnvoyVerdict:
        """Envoy's verdict on a change from some documents to others."""
        envoy = self._envoy
        if envoy is None:
            return EnvoyVerdict()
        async with self._turn:
            self._postpone_stop(envoy)
            try:
                async with asyncio.timeout(budget := self._seconds()):
                    return await self._verify(envoy, before, after)
            except TimeoutError:
                await envoy.stop()
                return EnvoyVerdict(unverified=f"Envoy has not checked all of it within {budget:g} s")

    def _seconds(self) -> float:
        """How long a change of this mesh may be verified."""
        if self._budget is not None:
            return self._budget
        served = self._served()
        services = len(served.world.services) if served else 0
        return min(BUDGET_SECONDS + SECONDS_PER_SERVICE * services, MAX_SECONDS)

    async def stop(self) -> None:
        """End the scratch Envoy."""
        if self._idle is not None:
            self._idle.cancel()
        if self._envoy is not None:
            await self._envoy.stop()

    async def _verify(
        self, envoy: ScratchEnvoy, before: Sequence[Document], after: Sequence[Document]
    ) -> EnvoyVerdict:
        try:
            async with aclosing(self._changes((before, after), envoy.is_confined)) as changes:
                return await self._judge(envoy, changes)
        except LimitExceededError as error:
            return EnvoyVerdict(unverified=f"no Envoy has checked it: {error}")

    async def _judge(self, envoy: ScratchEnvoy, changes: AsyncIterator[Part]) -> EnvoyVerdict:
        """Envoy's verdict on the parts of a comparison as they come: one is in memory at a time."""
        objections: list[Objection] = []
        unseen: list[str] = []
        opened: tuple[Conversation, ScratchNode] | None = None
        async for candidate in changes:
            if isinstance(candidate, tuple):
                objections += map(Objection, candidate)
                continue
            unseen += [f"{_words(key)} of {candidate.owner}" for key in candidate.withheld]
            if not candidate.resources:
                continue
            if opened is None:
                try:
                    opened = await envoy.conversation(candidate.before), candidate.before
                except EnvoyEndedError as error:
                    await envoy.stop()
                    self._report(f"changes of policies are not checked by Envoy: {error}")
                    return EnvoyVerdict(unverified=f"no Envoy has checked it: {error}")
                self._report("")
            try:
                objections += await self._objections(envoy, opened[0], candidate)
            except EnvoyEndedError as error:
                await envoy.stop()
                return EnvoyVerdict((*objections, _crash(candidate, error)))
        if opened is not None:
            conversation, node = opened
            conversation.clear(node)
        unseen += [
            f"{each.resource} of {each.owner}" for each in objections if HOST_FILES.search(each.message)
        ]
        objections = [each for each in objections if not HOST_FILES.search(each.message)]
        return EnvoyVerdict(tuple(objections), _unseen(unseen))

    async def _compared(self, compare: Callable[[], list[Part]]) -> list[Part]:
        """The comparison, made in a thread. One that was given up goes on there: it ends before the next."""
        if self._comparison is not None:
            await asyncio.wait({self._comparison})
        self._comparison = asyncio.ensure_future(asyncio.to_thread(compare))
        return await asyncio.shield(self._comparison)

    async def _changes(self, edit: Edit, is_confined: bool) -> AsyncGenerator[Part, None]:
        """See `_compare`. Raises LimitExceededError for a change that takes too long."""
        served = self._served()
        world = served.world if served else World(0)
        if rule_count(_changed(*edit)) > SMALL_CHANGE:
            accepted = frozenset(self._accepted)
            parts = stream_from_process(
                _compare, world, None, edit, accepted, is_confined, seconds=self._seconds()
            )
            async with aclosing(parts) as stream:
                async for part in stream:
                    yield part
            return
        compare = partial(_compare, world, served, edit, self._accepted.keys(), is_confined)
        for part in await self._compared(lambda: list(compare())):
            yield part

    async def _objections(
        self, envoy: ScratchEnvoy, conversation: Conversation, candidate: Candidate
    ) -> list[Objection]:
        """What Envoy says against the resources of one node, besides what it said before the change."""
        ask = partial(_ask, envoy, conversation)
        replies = await ask(candidate.after, candidate.resources)
        refused = [each for each in candidate.resources if replies.get((each.type_url, each.name))]
        for resource in candidate.resources:
            if replies.get((resource.type_url, resource.name)) == "":
                self._remember(resource)
        if not refused:
            return []
        previous = [old for each in refused if (old := candidate.before.get(each.type_url, each.name))]
        last = await ask(candidate.before, previous)
        return [
            Objection(replies[key], _words(key), candidate.owner, each.policies)
            for each in refused
            if replies[key := (each.type_url, each.name)] != last.get(key)
        ]

    def _remember(self, resource: Resource) -> None:
        self._accepted[content(resource)] = None
        while len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)

    def _postpone_stop(self, envoy: ScratchEnvoy) -> None:
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        self._idle = loop.call_later(IDLE_SECONDS, lambda: loop.create_task(envoy.stop()))


def open_verifier(
    settings: Settings, served: Callable[[], Translation | None], report: Callable[[str], None]
) -> Verifier:
    """The verifier of a control plane."""
    return Verifier(served, ScratchEnvoy(settings.state) if settings.verify == "on" else None, report)


async def _ask(
    envoy: ScratchEnvoy, conversation: Conversation, node: ScratchNode, resources: Sequence[Resource]
) -> Mapping[ResourceKey, str]:
    """Envoy's errors for resources of a node, empty for what it accepts; raises EnvoyEndedError."""
    return await envoy.until_it_ends(conversation.verdicts(node, resources))


def _changed(before: Sequence[Document], after: Sequence[Document]) -> Iterator[Document]:
    """The documents of `after` that are new or different."""
    present = {(body["kind"], body["metadata"]["name"]): body for body in before}
    return (body for body in after if present.get((body["kind"], body["metadata"]["name"])) != body)


def _compare(
    world: World,
    served: Translation | None,
    edit: Edit,
    accepted: Collection[Content],
    is_confined: bool,
) -> Iterator[Part]:
    """What an edit does to the configuration.

    A patch that fits nothing yet is no problem: it may wait for a service.
    """
    old = translate(with_documents(world, edit[0]), served)
    new = translate(with_documents(world, edit[1]), old)
    expected = {*old.snapshot.problems, *map(str, new.snapshot.misfits)}
    problems = tuple(text for text in new.snapshot.problems if text not in expected)
    yield problems
    if not problems:
        yield from candidates(old.snapshot, new.snapshot, accepted, is_confined)


def _crash(candidate: Candidate, error: EnvoyEndedError) -> Objection:
    policies = tuple(dict.fromkeys(ref for each in candidate.resources for ref in each.policies))
    return Objection(f"Envoy does not survive this configuration: {error}", "", candidate.owner, policies)


def _words(key: ResourceKey) -> str:
    return f"{key[0].rpartition('.')[2]} {key[1]}"


def _unseen(resources: Sequence[str]) -> str:
    """Why some resources have not been verified; empty without any."""
    if not resources:
        return ""
    more = f" and {len(resources) - 1} more" if resources[1:] else ""
    return (
        f"Envoy has not checked {resources[0]}{more}: "
        "code and files that an EnvoyPatch names are left to the proxies themselves"
    )
