"""Routes of services: all of them with their traffic; the history and the policies of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import ConfigDict, Field

from meshwright.control_plane.admin.route import NoBody, NoParams, RequestParams, Route
from meshwright.control_plane.api.cluster_names import NODE_PATTERN
from meshwright.control_plane.api.models.policies import ServicePolicies
from meshwright.control_plane.api.models.topology import ForgottenService, ServiceHistory, ServiceList
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.errors import NotFoundError


class ServiceParams(RequestParams):
    name: str = Field(pattern=f"^{NAME_PATTERN}$", description="The service or gateway.")


class NodeParams(RequestParams):
    name: str = Field(pattern=f"^{NODE_PATTERN}$", description="The service, gateway or `external/NAME`.")


class ServicePoliciesParams(NodeParams):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=False)

    from_: str | None = Field(
        None,
        alias="from",
        pattern=f"^{NAME_PATTERN}$",
        description="A calling service or gateway: the policies of that edge.",
    )


class ServicesRouter:
    """`/services` and the routes below it."""

    def __init__(
        self,
        services: Callable[[], ServiceList],
        service_history: Callable[[str], ServiceHistory | None],
        service_policies: Callable[[str, str], Awaitable[ServicePolicies | None]],
        forget: Callable[[str], Awaitable[None]],
    ) -> None:
        self._services = services
        self._service_history = service_history
        self._service_policies = service_policies
        self._forget = forget

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route("GET", "/services", "services", "Services", self.services, ServiceList, read_only=True),
            Route(
                "POST", "/services/{name}/forget", "forget_service", "Forget a service", self.forget,
                ForgottenService, params=ServiceParams, errors=(400, 404),
            ),
            Route(
                "GET", "/services/{name}/history", "service_history", "The history of a service",
                self.history, ServiceHistory, params=NodeParams, errors=(404,), read_only=True,
            ),
            Route(
                "GET", "/services/{name}/policies", "service_policies", "Policies of a service or an edge",
                self.policies, ServicePolicies, params=ServicePoliciesParams, errors=(404,), read_only=True,
            ),
        )  # fmt: skip

    async def services(self, _params: NoParams, _body: NoBody) -> ServiceList:
        """Every service with all requests to it and every gateway with all requests from it, with trends."""
        return self._services()

    async def forget(self, params: ServiceParams, _body: NoBody) -> ForgottenService:
        """Remove a service that has no instances. It comes back when one registers."""
        await self._forget(params.name)
        return ForgottenService(name=params.name)

    async def history(self, params: NodeParams, _body: NoBody) -> ServiceHistory:
        """The last 15 minutes of all requests to a service, or from a gateway; no points without traffic."""
        history = self._service_history(params.name)
        if history is None:
            raise _not_found(params.name)
        return history

    async def policies(self, params: ServicePoliciesParams, _body: NoBody) -> ServicePolicies:
        """The policies that target a service, or with `from` one edge to it, overridden ones included."""
        policies = await self._service_policies(params.name, params.from_ or "")
        if policies is None:
            raise _not_found(params.name)
        return policies


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(f"{name}: the mesh has no such service or gateway: see `mesh topology`")
