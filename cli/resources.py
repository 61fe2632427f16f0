"""What `mesh get` lists: each resource's items as JSON, and its rows with status, revision and age."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from meshwright.cli.durations import format_duration
from meshwright.cli.http import call_api
from meshwright.cli.output import status_text
from meshwright.cli.proxies import certificate_text, memory_text
from meshwright.cli.ps import LEVELS
from meshwright.cli.status import HEALTH_LEVELS, PROXY_LEVELS, policy_state
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.problem_text import proxy_message
from meshwright.control_plane.api.target_refs import target_summary

Item = Mapping[str, Any]

HISTORY = 1000
"""Revisions whose times are known: policies that an older one changed have no age."""


class Row(NamedTuple):
    """One row: the cells of the header, the age in seconds (None: unknown), the cells that `wide` adds."""

    cells: tuple[str, ...]
    age: float | None
    wide: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResourceView:
    """How `mesh get` lists a resource. AGE follows the columns of `header`."""

    name: str
    plural: str
    header: tuple[str, ...]
    wide: tuple[str, ...]
    fetch: Callable[[Path | None], list[dict[str, Any]]]
    rows: Callable[[Sequence[Item], Path | None], list[Row]]


def age_text(age: float | None) -> str:
    """An age as a cell."""
    return "-" if age is None else format_duration(max(0.0, age))


def _age(started: float) -> float | None:
    return time.time() - started if started else None


# --- services ---------------------------------------------------------------------------------------


def _services(state: Path | None) -> list[dict[str, Any]]:
    """The services as in `mesh top`, each with the revision of all its proxies and its oldest start."""
    proxies = call_api(calls.proxies(), state)["proxies"]
    instances = call_api(calls.instances(), state)["instances"]
    items = []
    for service in call_api(calls.services(), state)["services"]:
        if service["role"] != "service":
            continue
        name = service["name"]
        revisions = [proxy["revision"] for proxy in proxies if proxy["service"] == name]
        starts = [item["process"]["started"] for item in instances if item["service"] == name]
        summary = {key: value for key, value in service.items() if key != "history"}
        items.append(
            {
                **summary,
                "revision": min(revisions, default=0),
                "started": min(filter(None, starts), default=0.0),
            }
        )
    return items


def _service_rows(items: Sequence[Item], _state: Path | None) -> list[Row]:
    return [
        Row(
            (
                item["name"],
                status_text(HEALTH_LEVELS.get(item["health"], "off"), item["health"]),
                f"{item['healthy']}/{item['instances']}",
                str(item["revision"] or "-"),
            ),
            _age(item["started"]),
            (f"{item['rps']:.1f}", f"{item['success']:.1%}", f"{item['p99_ms']:.0f} ms", item["reason"]),
        )
        for item in items
    ]


# --- instances and proxies --------------------------------------------------------------------------


def _instances(state: Path | None) -> list[dict[str, Any]]:
    """The instances as in `mesh ps`, each with the revision that its proxy has."""
    proxies = call_api(calls.proxies(), state)["proxies"]
    revisions = {(proxy["service"], proxy["name"]): proxy["revision"] for proxy in proxies}
    return [
        {**item, "revision": revisions.get((item["service"], item["name"]), 0)}
        for item in call_api(calls.instances(), state)["instances"]
    ]


def _instance_rows(items: Sequence[Item], _state: Path | None) -> list[Row]:
    return [
        Row(
            (
                item["name"],
                item["service"],
                status_text(LEVELS.get(item["health"], "off"), item["health"]),
                str(item["restarts"]),
                str(item["revision"] or "-"),
            ),
            _age(item["process"]["started"]),
            (
                item["process"]["host"] or "-",
                str(item["process"]["pid"] or "-"),
                item["address"],
                ",".join(f"{key}={value}" for key, value in sorted(item["labels"].items())) or "-",
                item["reason"] or item["last_exit"],
            ),
        )
        for item in items
    ]


def _proxies(state: Path | None) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = call_api(calls.proxies(), state)["proxies"]
    return listed


def _proxy_rows(items: Sequence[Item], _state: Path | None) -> list[Row]:
    return [
        Row(
            (
                item["name"],
                item["service"],
                status_text(PROXY_LEVELS.get(item["state"], "partial"), item["state"]),
                str(item["revision"] or "-"),
            ),
            item["uptime"] if item["reported"] else None,
            (
                str(item["pending"]),
                certificate_text(item["expires"] - time.time()) if item["reported"] else "-",
                item["version"] or "-",
                memory_text(item["memory"]) if item["reported"] else "-",
                proxy_message(item),
            ),
        )
        for item in items
    ]


# --- policies ---------------------------------------------------------------------------------------


def policies(kind: str, name: str) -> ResourceView:
    """The policies of a kind, all if it is empty, or one."""

    def fetch(state: Path | None) -> list[dict[str, Any]]:
        documents: list[dict[str, Any]] = call_api(calls.policies(kind, name), state)["documents"]
        return documents

    return ResourceView(
        "policy",
        "policies",
        ("KIND", "NAME", "STATUS", "TARGET", "REVISION"),
        ("REASON",),
        fetch,
        _policy_rows,
    )


def _policy_rows(documents: Sequence[Item], state: Path | None) -> list[Row]:
    """The policies with their status; they are as old as their last change."""
    if not documents:
        return []
    statuses = {(each["kind"], each["name"]): each for each in call_api(calls.status(), state)["policies"]}
    history = call_api(calls.history(HISTORY), state)["revisions"]
    times = {revision["revision"]: revision["time"] for revision in history}
    rows = []
    for document in documents:
        kind, name = document["kind"], document["metadata"]["name"]
        status = statuses.get((kind, name), {})
        revision = status.get("generation", 0)
        cells = (
            kind,
            name,
            policy_state(status) if status else "-",
            target_summary(document["spec"]),
            str(revision or "-"),
        )
        rows.append(Row(cells, _age(times.get(revision, 0.0)), (status.get("reason", ""),)))
    return rows


# --- by name ----------------------------------------------------------------------------------------

RESOURCES = {
    resource.name: resource
    for resource in (
        ResourceView(
            "service",
            "services",
            ("NAME", "STATUS", "READY", "REVISION"),
            ("RPS", "SUCCESS", "P99", "WHY"),
            _services,
            _service_rows,
        ),
        ResourceView(
            "instance",
            "instances",
            ("NAME", "SERVICE", "STATUS", "RESTARTS", "REVISION"),
            ("HOST", "PID", "ADDRESS", "LABELS", "WHY"),
            _instances,
            _instance_rows,
        ),
        ResourceView(
            "proxy",
            "proxies",
            ("NAME", "SERVICE", "STATUS", "REVISION"),
            ("PENDING", "CERTIFICATE", "ENVOY", "MEMORY", "ERROR"),
            _proxies,
            _proxy_rows,
        ),
    )
}
"""Resources that are not policies, by their singular."""

PLURALS = {resource.plural: resource.name for resource in RESOURCES.values()}


def find(kind: str, name: str) -> ResourceView:
    """The resource for a word in any case, singular or plural; policies for every other word."""
    word = kind.lower()
    return RESOURCES.get(PLURALS.get(word, word)) or policies(kind, name)
