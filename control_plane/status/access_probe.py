"""Probes: what is asked of the sidecars of a called service, and what their answers mean. Pure.

See api/probes.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from meshwright.control_plane.api import probes
from meshwright.control_plane.api.models.authorization import (
    AccessQuery,
    ProbeAnswer,
    ProbeRequest,
    SidecarVerdict,
)
from meshwright.control_plane.api.models.commands import ARGUMENT_LIMIT
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.core.ports import cluster_name
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import Instance
from meshwright.control_plane.errors import CommandTimeoutError, InputError, NotFoundError
from meshwright.control_plane.policies.field_types import HOP_BY_HOP
from meshwright.control_plane.status.access import caller_of, loaded, port_of, service_of

MAX_INSTANCES = 8
"""Instances that are asked, fewer than a proxy's queue takes commands."""

_DENIED_BY = re.compile(rf"{re.escape(probes.DENIED_BY)}([^\]]*)\]")
_METHOD = re.compile(r"[A-Za-z-]{1,32}")
_PATH = re.compile(r"/[!-~]*")
_HOST = re.compile(r"[A-Za-z0-9_.:-]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")
_ANSWER_SHOWN = 200


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """The proxy of the caller that asks, and for each instance (by name) the argument of its command.

    `cluster`: the one of the caller's proxy whose requests the probes are.
    """

    proxy: str
    caller: str
    cluster: str
    arguments: tuple[tuple[str, str], ...]


def plan(translation: Translation | None, query: AccessQuery, proxies: Iterable[ProxyStatus]) -> ProbePlan:
    """How to probe a call.

    Raises InputError for a call that cannot be made, NotFoundError for an unknown service or caller or a
    service without instances, and CommandTimeoutError if the caller has no proxy to ask from.
    """
    translation = loaded(translation)
    service = service_of(translation, query.service)
    caller = caller_of(translation, query.caller)
    if caller is None:
        raise InputError("a probe needs a caller whose sidecar makes the call: add --from NAME")
    port = port_of(service, query.port)
    if port.protocol == "tcp":
        raise InputError(f"port {port.name} is for TCP: only a request can be marked as a probe")
    _check_request(query)
    if not service.instances:
        raise NotFoundError(f"{service.name} has no instances to ask")
    proxy = _proxy(query.caller, caller.role, proxies)
    cluster = cluster_name(service, port)
    arguments = [
        (instance.name, _argument(query, cluster, instance)) for instance in service.instances[:MAX_INSTANCES]
    ]
    return ProbePlan(proxy, query.caller, cluster, tuple(arguments))


def verdict(instance: str, result: str) -> SidecarVerdict:
    """What the sidecar of an instance says; `result`: a ProbeAnswer as JSON."""
    try:
        answer = ProbeAnswer.model_validate_json(result)
    except ValidationError:
        return unknown(instance, "the agent of the caller sent an unexpected result")
    if answer.allowed:
        return SidecarVerdict(instance=instance, verdict="allowed")
    denied = _DENIED_BY.search(answer.text)
    if denied:
        return SidecarVerdict(instance=instance, verdict="denied", rule=denied[1])
    return unknown(instance, f"{answer.status} {answer.text[:_ANSWER_SHOWN]}".strip())


def unknown(instance: str, answer: str) -> SidecarVerdict:
    """For an instance whose rules gave no verdict."""
    return SidecarVerdict(instance=instance, verdict="unknown", answer=answer)


def _proxy(caller: str, role: str, proxies: Iterable[ProxyStatus]) -> str:
    states = {
        proxy.name: proxy.state
        for proxy in proxies
        if (proxy.service, proxy.role) == (caller, role) and proxy.state != "disconnected"
    }
    if not states:
        raise CommandTimeoutError(f"{caller} has no connected proxy to ask from: see `mesh proxies`")
    return min(sorted(states), key=lambda name: states[name] != "synced")


def _check_request(query: AccessQuery) -> None:
    """Raise InputError for what HTTP does not permit, or the next proxy would drop."""
    if not _METHOD.fullmatch(query.method) or query.method.upper() == "CONNECT":
        raise InputError(f"method {query.method!r} cannot be sent as a probe")
    if not _PATH.fullmatch(query.path):
        raise InputError(f"path {query.path!r} cannot be sent: begin with a slash, and escape the rest")
    if not _HOST.fullmatch(query.host):
        raise InputError(f"host {query.host!r} cannot be sent")
    for name, value in query.headers:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise InputError(f"header {name!r} cannot be sent")
        if name.lower() in HOP_BY_HOP or name.lower() == "host":
            raise InputError(f"header {name!r} cannot be sent: it belongs to a connection")


def _argument(query: AccessQuery, cluster: str, instance: Instance) -> str:
    address = f"[{instance.address}]" if ":" in instance.address else instance.address
    request = ProbeRequest(
        cluster=cluster,
        address=f"{address}:{instance.port}",
        method=query.method,
        host=query.host or query.service,
        path=query.path,
        headers=query.headers,
    )
    argument = request.model_dump_json()
    if len(argument) > ARGUMENT_LIMIT:
        raise InputError(f"the request is too long for a probe: at most {ARGUMENT_LIMIT} characters")
    return argument
