"""Every call of the admin API as a value, so that all clients agree on paths and bodies.

Pure and without pydantic: the command line answers in the time that a typed client takes to import.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

PREFIX = "/api/v1"
TIMEOUT = 30.0
"""Seconds that an ordinary call may take."""


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request: `path` with its query, `body` to be sent as JSON, seconds until it is given up."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    timeout: float = TIMEOUT


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """What every change carries; `base` None means the revision that is current when it arrives."""

    base: int | None = None
    message: str = ""
    author: str = ""
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """The JSON fields of an Edit."""
        return {"base": self.base, "why": self.message, "author": self.author, "dryRun": self.dry_run}


DEFAULT_OPTIONS = ChangeOptions()


@dataclass(frozen=True, slots=True)
class SourcedDocument:
    """A document and the `path:line` where its user finds it."""

    document: Mapping[str, Any]
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """The JSON fields of a SourcedDocument."""
        return {"document": dict(self.document), "source": self.source}


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """Names one document."""

    kind: str
    name: str


def apply(documents: Iterable[SourcedDocument], options: ChangeOptions = DEFAULT_OPTIONS) -> ApiCall:
    """Create or change documents, all or none → AppliedReply."""
    return ApiCall(
        "POST", f"{PREFIX}/apply", {"documents": [d.to_json() for d in documents], **options.to_json()}
    )


def delete(refs: Iterable[DocumentRef], options: ChangeOptions = DEFAULT_OPTIONS) -> ApiCall:
    """Delete documents, all or none → AppliedReply."""
    named = [{"kind": ref.kind, "name": ref.name} for ref in refs]
    return ApiCall("POST", f"{PREFIX}/delete", {"refs": named, **options.to_json()})


def diff(documents: Iterable[SourcedDocument]) -> ApiCall:
    """What an apply would change → DiffReply."""
    return ApiCall("POST", f"{PREFIX}/diff", {"documents": [d.to_json() for d in documents]})


def policies(kind: str = "", name: str = "") -> ApiCall:
    """The current documents, all or of one kind or one of them → Documents."""
    parts = [quote(part, safe="") for part in (kind, name) if part]
    return ApiCall("GET", "/".join([f"{PREFIX}/policies", *parts]))


def history(limit: int = 50, before: int | None = None) -> ApiCall:
    """Revisions, newest first → History."""
    query: dict[str, int] = {"limit": limit} if before is None else {"limit": limit, "before": before}
    return ApiCall("GET", f"{PREFIX}/revisions?{urlencode(query)}")


def revision(number: int) -> ApiCall:
    """One revision whole → RevisionReply."""
    return ApiCall("GET", f"{PREFIX}/revisions/{number}")


def rollback(number: int, options: ChangeOptions = DEFAULT_OPTIONS) -> ApiCall:
    """The documents of a revision as a new one → AppliedReply."""
    return ApiCall("POST", f"{PREFIX}/revisions/{number}/rollback", options.to_json())


def status() -> ApiCall:
    """The mesh as it stands → Status."""
    return ApiCall("GET", f"{PREFIX}/status")


def instances() -> ApiCall:
    """Every instance → Instances."""
    return ApiCall("GET", f"{PREFIX}/instances")


def proxies() -> ApiCall:
    """Every proxy with what it told of itself → Proxies."""
    return ApiCall("GET", f"{PREFIX}/proxies")


def proxy_stats(name: str, filter: str = "") -> ApiCall:
    """An Envoy's statistics; `filter`: a regular expression for a part of their names → ProxyStats."""
    return ApiCall("GET", _proxy(name, "stats", {"filter": filter} if filter else {}))


def proxy_logs(name: str, lines: int = 100, after: Mapping[str, int] | None = None) -> ApiCall:
    """The end of a sidecar's logs, or what came after these offsets by their source → ProxyLogs."""
    return ApiCall("GET", _proxy(name, "logs", {"lines": lines, **(after or {})}))


def proxy_config(name: str, section: str = "") -> ApiCall:
    """An Envoy's configuration, all or listeners, clusters, routes, endpoints of it → ProxyConfig."""
    return ApiCall("GET", _proxy(name, "config", {"section": section} if section else {}))


def log_level(name: str) -> ApiCall:
    """An Envoy's log levels → ProxyLogLevel."""
    return ApiCall("GET", _proxy(name, "log-level"))


def set_log_level(name: str, level: str, logger: str = "", seconds: int = 600) -> ApiCall:
    """Change an Envoy's log level for some seconds, of all loggers or of one → ProxyLogLevel."""
    body = {"level": level, "seconds": seconds, **({"logger": logger} if logger else {})}
    return ApiCall("PUT", _proxy(name, "log-level"), body)


def _proxy(name: str, what: str, query: Mapping[str, str | int] | None = None) -> str:
    path = f"{PREFIX}/proxies/{quote(name, safe='')}/{what}"
    return f"{path}?{urlencode(query)}" if query else path


def wait(number: int, timeout: float) -> ApiCall:
    """Until every connected sidecar has taken a revision or one rejected it → WaitReply."""
    query = urlencode({"revision": number, "timeout": timeout})
    return ApiCall("GET", f"{PREFIX}/wait?{query}", timeout=timeout + TIMEOUT)


def create_token(role: str, name: str, ttl: float, author: str = "") -> ApiCall:
    """A join token; `role` is `service` or `gateway`, `ttl` seconds → Minted."""
    return ApiCall("POST", f"{PREFIX}/tokens", {role: name, "ttl": ttl, "author": author})


def tokens() -> ApiCall:
    """Every join token on record → TokenList."""
    return ApiCall("GET", f"{PREFIX}/tokens")


def revoke_token(id: str) -> ApiCall:
    """Refuse a join token from now on → Revoked."""
    return ApiCall("POST", f"{PREFIX}/tokens/{quote(id, safe='')}/revoke")


def topology() -> ApiCall:
    """Who calls whom, over the last seconds → Topology."""
    return ApiCall("GET", f"{PREFIX}/topology")


def edge_history(caller: str, callee: str) -> ApiCall:
    """The last quarter of an hour of the calls from one service to another → History."""
    return ApiCall("GET", f"{PREFIX}/topology/{quote(caller, safe='')}/{quote(callee, safe='')}")


def services() -> ApiCall:
    """Every service and gateway with its figures of now and their course → Services."""
    return ApiCall("GET", f"{PREFIX}/services")


def service_history(name: str) -> ApiCall:
    """The last quarter of an hour of all calls to a service, or from a gateway → ServiceHistory."""
    return ApiCall("GET", f"{PREFIX}/services/{quote(name, safe='')}/history")


def traces(
    *, service: str = "", operation: str = "", min_duration: str = "", errors: bool = False, limit: int = 20
) -> ApiCall:
    """Traces that have such a span, newest first; `min_duration` as `250ms` → Traces."""
    given = {"service": service, "operation": operation, "minDuration": min_duration}
    query = {name: value for name, value in given.items() if value}
    wanted = {**query, "errors": str(errors).lower(), "limit": str(limit)}
    return ApiCall("GET", f"{PREFIX}/traces?{urlencode(wanted)}")


def trace(id: str) -> ApiCall:
    """One trace; the ID may be a prefix that no other has → Trace."""
    return ApiCall("GET", f"{PREFIX}/traces/{quote(id, safe='')}")


def events(limit: int = 50, before: str = "", kind: str = "") -> ApiCall:
    """What happened, newest first → EventList."""
    query = {"limit": limit} | {name: word for name, word in (("before", before), ("kind", kind)) if word}
    return ApiCall("GET", f"{PREFIX}/events?{urlencode(query)}")


def requests(*, service: str = "", errors: bool = False, since: str = "", limit: int = 50) -> ApiCall:
    """What proxies told of requests, newest first; `since` as `5m` → Requests."""
    given = {"service": service, "since": since}
    query = {name: value for name, value in given.items() if value}
    wanted = {**query, "errors": str(errors).lower(), "limit": str(limit)}
    return ApiCall("GET", f"{PREFIX}/requests?{urlencode(wanted)}")


def tap(service: str, *, errors: bool = False, method: str = "", path: str = "", caller: str = "") -> ApiCall:
    """What is kept of a service's requests → Requests; as an event stream its live ones → Tapped."""
    given = {"method": method, "path": path, "caller": caller, "errors": "true" if errors else ""}
    query = urlencode({name: value for name, value in given.items() if value})
    return ApiCall("GET", f"{PREFIX}/tap/{quote(service, safe='')}{'?' if query else ''}{query}")


def explain(id: str) -> ApiCall:
    """Why a request failed or was slow, by its x-request-id or trace, or how these begin → Why."""
    return ApiCall("GET", f"{PREFIX}/why/{quote(id, safe='')}")
