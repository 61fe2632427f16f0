"""The status of the mesh with the verdict on it: gathers what the verdict needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from meshwright.control_plane.api.models.moments import Moment
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.status import ControlPlaneAbsence, Status
from meshwright.control_plane.api.models.topology import ServiceList
from meshwright.control_plane.api.models.verdict import MeshProblem
from meshwright.control_plane.api.sync_marks import sync_in
from meshwright.control_plane.core.revision import CanonicalDocument
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.status.read_model import MeshReadModel
from meshwright.control_plane.status.status import with_health
from meshwright.control_plane.status.sync_drift import drift, last_syncs
from meshwright.control_plane.status.verdict import FailureCause, VerdictInput, assess, failing
from meshwright.control_plane.store.store import Store
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.failure_cause import (
    change_text,
    failing_since,
    most_common_cause,
)
from meshwright.control_plane.telemetry.topology.health import DEGRADED_BELOW

MAX_CHANGES = 1000
"""Revisions that are searched for the last change to a policy: as many as the store returns at once."""

MAX_EXPLAINED, MAX_SAMPLES, MAX_SAMPLE_AGE = 5, 20, 30.0
"""Failing services that the verdict explains; failed requests of each that it looks at, and their age in
seconds."""


class StatusAssessment:
    """Assesses the mesh. `certificates` returns expiry times by name, `svid_ttl` is in seconds.

    `absence` returns when this control plane was away, if that was recently.
    """

    def __init__(
        self,
        mesh: MeshReadModel,
        store: Store,
        certificates: Callable[[], Mapping[str, float]],
        svid_ttl: float,
        absence: Callable[[], ControlPlaneAbsence | None],
    ) -> None:
        self._mesh = mesh
        self._store = store
        self._certificates = certificates
        self._svid_ttl = svid_ttl
        self._absence = absence
        self._changes: Sequence[RevisionInfo] = ()
        self._changes_revision = -1
        self._drift: tuple[MeshProblem, ...] = ()

    async def status(self) -> Status:
        """The status with health and verdict."""
        rows, world = self._mesh.services(), self._mesh.world
        current = with_health(await self._mesh.status(), rows)
        policies = PolicyAttribution(
            world.documents, await self._read_changes(world.revision), world.services, world.gateways
        )
        faults = [document.ref for document in world.documents if document.policy.kind == "FaultInjection"]
        facts = VerdictInput(
            current,
            world,
            rows.services,
            self._mesh.reports(),
            time.time(),
            self._svid_ttl,
            rows.window,
            causes=await self._causes(rows, policies, current),
            certificates=self._certificates(),
            authors={ref: change_text(policies.last_change(ref)) for ref in faults},
            drift=self._drift,
        )
        return current.model_copy(update={"verdict": assess(facts), "absence": self._absence()})

    async def moment(self) -> Moment | None:
        """The mesh as it is, to be recorded; None before the first configuration is served."""
        if not self._mesh.is_serving:
            return None
        status = await self.status()
        return Moment(
            time=time.time(),
            revision=status.revision,
            verdict=status.verdict,
            topology=self._mesh.topology(),
            services=self._mesh.services(),
        )

    async def _read_changes(self, newest: int) -> Sequence[RevisionInfo]:
        """The newest revisions, newest first, read once per revision; none while the store is unavailable.

        Sets the drift from what syncs applied, too.
        """
        if self._changes_revision != newest:
            try:
                self._changes = await self._store.history(MAX_CHANGES)
            except StoreError:
                return ()
            try:
                self._drift = await self._read_drift(newest, self._changes)
            except StoreError:
                return self._changes  # a revision of a sync cannot be read, which takes nothing from the rest
            self._changes_revision = newest
        return self._changes

    async def _read_drift(self, newest: int, changes: Sequence[RevisionInfo]) -> tuple[MeshProblem, ...]:
        if not any(sync_in(info.message) for info in changes):
            return ()
        current = await self._documents(newest)
        syncs = last_syncs(changes, current)
        problems = [
            drift(each, await self._documents(each.info.revision), current, changes) for each in syncs
        ]
        return tuple(filter(None, problems))

    async def _documents(self, number: int) -> dict[str, CanonicalDocument]:
        revision = await self._store.get(number)
        return {ref: document.body for ref, document in revision.documents.items()}

    async def _causes(
        self, rows: ServiceList, policies: PolicyAttribution, status: Status
    ) -> dict[str, FailureCause]:
        """Why requests to each failing service fail, by what proxies report about the newest ones."""
        causes, now = {}, time.time()
        ejecting = {breaker.to for breaker in status.breakers if breaker.state != "closed"}
        for row in [row for row in rows.services if failing(row, rows.window)][:MAX_EXPLAINED]:
            requests = await self._mesh.requests.recent(
                MAX_SAMPLES, service=row.name, errors=True, since=now - MAX_SAMPLE_AGE
            )
            history = self._mesh.service_history(row.name)
            since = failing_since(history.points if history else (), DEGRADED_BELOW, now)
            causes[row.name] = FailureCause(since, most_common_cause(requests, policies, ejecting))
        return causes
