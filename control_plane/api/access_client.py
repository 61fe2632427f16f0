"""The part of the client that asks about calls between services: who may, who did, what becomes of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from meshwright.control_plane.api import calls
from meshwright.control_plane.api.calls import ApiCall
from meshwright.control_plane.api.models.authorization import (
    AccessCheck,
    AccessMatrix,
    AccessProbe,
    AccessQuery,
    ObservedCalls,
)
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.call_explanation import CallExplanation, ExplainedProbe

Model = TypeVar("Model", bound=ApiModel)


class AccessCalls(ABC):
    """Questions about calls between services."""

    @abstractmethod
    async def _send(self, call: ApiCall, model: type[Model]) -> Model: ...

    async def check_access(self, query: AccessQuery) -> AccessCheck:
        """Whether the Authorizations in force would let a call through, and which policy decides."""
        return await self._send(calls.check_access(query.model_dump(by_alias=True)), AccessCheck)

    async def probe_access(self, query: AccessQuery) -> AccessProbe:
        """The same, and what sidecars of the called service say: a proxy of the caller asks them."""
        return await self._send(calls.probe_access(query.model_dump(by_alias=True)), AccessProbe)

    async def access_matrix(self) -> AccessMatrix:
        """Who may call what."""
        return await self._send(calls.access_matrix(), AccessMatrix)

    async def observed_calls(self, seconds: float = 3600.0) -> ObservedCalls:
        """Who called what within the last `seconds`, at most a quarter of an hour."""
        return await self._send(calls.observed_calls(seconds), ObservedCalls)

    async def explain_call(self, query: AccessQuery) -> CallExplanation:
        """What the proxies of the mesh would do with a request."""
        return await self._send(calls.explain_call(query.model_dump(by_alias=True)), CallExplanation)

    async def probe_explained(self, query: AccessQuery) -> ExplainedProbe:
        """The same, and what sidecars of the called service say: a proxy of the caller asks them."""
        return await self._send(calls.probe_explained(query.model_dump(by_alias=True)), ExplainedProbe)
