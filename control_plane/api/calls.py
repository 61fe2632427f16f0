"""Every call of the admin API as a value, so that all clients agree on paths and bodies.

Pure and without pydantic: a whole command takes less time than importing the typed client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

PREFIX = "/api/v1"
TIMEOUT = 30.0
"""Seconds after which an ordinary call times out."""


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request: `path` includes the query, `body` is sent as JSON, `timeout` is in seconds."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    timeout: float = TIMEOUT


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """Options of every change. `base` None: the revision that is current when the request arrives."""

    base: int | None = None
    message: str = ""
    author: str = ""
    dry_run: bool = False
    verify: bool = True
    immediate: bool = False

    def to_json(self) -> dict[str, Any]:
        """The JSON fields of an EditRequest."""
        return {
            "base": self.base,
            "message": self.message,
            "author": self.author,
            "dryRun": self.dry_run,
            "verify": self.verify,
            "immediate": self.immediate,
        }


DEFAULT_OPTIONS = ChangeOptions()


@dataclass(frozen=True, slots=True)
class SourcedDocument:
    """A document and its location in the user's files, `path:line`."""

    document: Mapping[str, Any]
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """The JSON fields of a DocumentInput."""
        return {"document": dict(self.document), "source": self.source}


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """Names one document."""

    kind: str
    name: str


# --- policies and revisions ---------------------------------------------------------------------------


def apply(
    documents: Iterable[SourcedDocument],
    options: ChangeOptions = DEFAULT_OPTIONS,
    *,
    prune: Mapping[str, str] | None = None,
    strict: bool = False,
) -> ApiCall:
    """Create or change documents, and delete others with the labels `prune`, all or none → ApplyResponse.

    Labels that are empty, not None, delete all others, which needs the `base` of `options`. `strict`: none
    if a document would not be Accepted, or one of its references would not resolve.
    """
    body = {"documents": [document.to_json() for document in documents], **options.to_json()}
    if prune is not None:
        body |= {"prune": dict(prune), "pruneAll": not prune}
    if strict:  # an older control plane does not know the field
        body["strict"] = True
    return ApiCall("POST", f"{PREFIX}/apply", body)


def delete(refs: Iterable[DocumentRef], options: ChangeOptions = DEFAULT_OPTIONS) -> ApiCall:
    """Delete documents, all or none → ApplyResponse."""
    body = {"refs": [{"kind": ref.kind, "name": ref.name} for ref in refs], **options.to_json()}
    return ApiCall("POST", f"{PREFIX}/delete", body)


def diff(documents: Iterable[SourcedDocument], *, verify: bool = True) -> ApiCall:
    """What an apply would change → DiffResponse."""
    body = {"documents": [document.to_json() for document in documents], "verify": verify}
    return ApiCall("POST", f"{PREFIX}/diff", body)


def policies(kind: str = "", name: str = "") -> ApiCall:
    """The current documents: all, those of one kind, or one → DocumentList."""
    return ApiCall("GET", _path("policies", *(part for part in (kind, name) if part)))


def history(limit: int = 50, before: int | None = None) -> ApiCall:
    """Revisions, newest first → RevisionList."""
    return ApiCall("GET", _path("revisions", limit=limit, before=before))


def revision(number: int) -> ApiCall:
    """One revision with its documents → RevisionDetail."""
    return ApiCall("GET", _path("revisions", str(number)))


def rollback(number: int, options: ChangeOptions = DEFAULT_OPTIONS) -> ApiCall:
    """Commit the documents of a revision as a new one → ApplyResponse."""
    return ApiCall("POST", _path("revisions", str(number), "rollback"), options.to_json())


def rollouts() -> ApiCall:
    """Every rollout → RolloutList."""
    return ApiCall("GET", f"{PREFIX}/rollouts")


def steer_rollout(name: str, action: str, options: ChangeOptions = DEFAULT_OPTIONS) -> ApiCall:
    """Promote, pause, resume, abort or restart a rollout → ApplyResponse."""
    return ApiCall("POST", _path("rollouts", name), {"action": action, **options.to_json()})


# --- services -----------------------------------------------------------------------------------------


def forget_service(name: str) -> ApiCall:
    """Remove a service that has no instances → ForgottenService."""
    return ApiCall("POST", _path("services", name, "forget"))


# --- status and proxies -------------------------------------------------------------------------------


def status() -> ApiCall:
    """The current state of the mesh → Status."""
    return ApiCall("GET", _path("status"))


def instances() -> ApiCall:
    """Every instance with a lease → InstanceList."""
    return ApiCall("GET", _path("instances"))


def proxies() -> ApiCall:
    """Every proxy with its latest report → ProxyList."""
    return ApiCall("GET", _path("proxies"))


def proxy_stats(name: str, filter: str = "") -> ApiCall:
    """An Envoy's statistics; `filter`: a regular expression that part of a name matches → ProxyStats."""
    return ApiCall("GET", _proxy_path(name, "stats", filter=filter))


def proxy_logs(name: str, lines: int = 100, after: Mapping[str, int] | None = None) -> ApiCall:
    """The end of a sidecar's logs, or what follows the given offsets (by source) → ProxyLogs."""
    return ApiCall("GET", _proxy_path(name, "logs", lines=lines, **(after or {})))


def proxy_config(name: str, section: str = "") -> ApiCall:
    """An Envoy's configuration: all, or only its listeners, clusters, routes or endpoints → ProxyConfig."""
    return ApiCall("GET", _proxy_path(name, "config", section=section))


def log_level(name: str) -> ApiCall:
    """An Envoy's log levels → ProxyLogLevel."""
    return ApiCall("GET", _proxy_path(name, "log-level"))


def set_log_level(name: str, level: str, logger: str = "", seconds: int = 600) -> ApiCall:
    """Change the level of one logger, or of all, for some seconds → ProxyLogLevel."""
    body = {"level": level, "seconds": seconds, **({"logger": logger} if logger else {})}
    return ApiCall("PUT", _proxy_path(name, "log-level"), body)


def begin_restart(name: str) -> ApiCall:
    """Begin to restart the app of an instance without losing a request → InstanceRestart."""
    return ApiCall("POST", _proxy_path(name, "restart"))


def restart_status(name: str) -> ApiCall:
    """How far the restart of an instance is → InstanceRestart."""
    return ApiCall("GET", _proxy_path(name, "restart"))


def evict_proxy(name: str, author: str = "", message: str = "") -> ApiCall:
    """Refuse a proxy until it enrols again → EvictionResult."""
    return ApiCall("POST", _proxy_path(name, "evict"), {"author": author, "message": message})


def wait(number: int, timeout: float) -> ApiCall:
    """Wait until every connected proxy has ACKed a revision, or one rejects it → WaitResult."""
    return ApiCall("GET", _path("wait", revision=number, timeout=timeout), timeout=timeout + TIMEOUT)


def push() -> ApiCall:
    """The push in waves that is under way → PushReport."""
    return ApiCall("GET", _path("push"))


def change_push(action: str, author: str = "", message: str = "") -> ApiCall:
    """Pause, resume or abort the push → PushReport."""
    return ApiCall("POST", _path("push"), {"action": action, "author": author, "message": message})


# --- join tokens --------------------------------------------------------------------------------------


def create_token(role: str, name: str, ttl: float, author: str = "") -> ApiCall:
    """Create a join token; `role` is `service` or `gateway`, `ttl` in seconds → NewToken."""
    return ApiCall("POST", _path("tokens"), {role: name, "ttl": ttl, "author": author})


def tokens() -> ApiCall:
    """Every join token on record → TokenList."""
    return ApiCall("GET", _path("tokens"))


def revoke_token(id: str) -> ApiCall:
    """Revoke a join token → RevokedToken."""
    return ApiCall("POST", _path("tokens", id, "revoke"))


def lint() -> ApiCall:
    """What lint finds in the policies in force → LintReport."""
    return ApiCall("GET", _path("lint"))


# --- services and topology ----------------------------------------------------------------------------


def topology() -> ApiCall:
    """The service graph of the last seconds → Topology."""
    return ApiCall("GET", _path("topology"))


def moment(at: float) -> ApiCall:
    """The mesh as it was at a time, in epoch seconds."""
    return ApiCall("GET", _path("moments", at=at))


def edge_history(caller: str, callee: str) -> ApiCall:
    """The last 15 minutes of one edge → EdgeHistory."""
    return ApiCall("GET", _path("topology", caller, callee))


def services() -> ApiCall:
    """Every service and gateway with its current traffic and its trend → ServiceList."""
    return ApiCall("GET", _path("services"))


def service_history(name: str) -> ApiCall:
    """The last 15 minutes of all requests to a service, or from a gateway → ServiceHistory."""
    return ApiCall("GET", _path("services", name, "history"))


def service_policies(name: str, caller: str = "") -> ApiCall:
    """Policies that target a service or gateway, or with `caller` one edge to it → ServicePolicies."""
    return ApiCall("GET", _path("services", name, "policies", **{"from": caller}))


# --- authorization ------------------------------------------------------------------------------------


def check_access(query: Mapping[str, Any]) -> ApiCall:
    """Whether a call would be let through; the fields of an AccessQuery → AccessCheck."""
    return ApiCall("POST", f"{PREFIX}/authz/check", query)


def probe_access(query: Mapping[str, Any]) -> ApiCall:
    """What sidecars of the called service say; the fields of an AccessQuery → AccessProbe."""
    return ApiCall("POST", f"{PREFIX}/authz/probe", query)


def access_matrix() -> ApiCall:
    """Who may call what → AccessMatrix."""
    return ApiCall("GET", f"{PREFIX}/authz/matrix")


def observed_calls(seconds: float) -> ApiCall:
    """Who called what within the last `seconds`, at most 900 → ObservedCalls."""
    return ApiCall("GET", _path("authz", "observed", seconds=seconds))


def explain_call(query: Mapping[str, Any]) -> ApiCall:
    """What becomes of a request before it is sent; the fields of an AccessQuery → CallExplanation."""
    return ApiCall("POST", f"{PREFIX}/explain", query)


def probe_explained(query: Mapping[str, Any]) -> ApiCall:
    """The same, and what the called sidecars say; the fields of an AccessQuery → ExplainedProbe."""
    return ApiCall("POST", f"{PREFIX}/explain/probe", query)


# --- traces, requests, events -------------------------------------------------------------------------


def traces(
    *, service: str = "", operation: str = "", min_duration: str = "", errors: bool = False, limit: int = 20
) -> ApiCall:
    """Traces with a span that matches, newest first; `min_duration` such as `250ms` → TraceList."""
    query = {"service": service, "operation": operation, "minDuration": min_duration}
    return ApiCall("GET", _path("traces", **query, errors=str(errors).lower(), limit=limit))


def trace(id: str) -> ApiCall:
    """One trace; a unique prefix of its ID is enough → Trace."""
    return ApiCall("GET", _path("traces", id))


def events(limit: int = 50, before: str = "", kind: str = "") -> ApiCall:
    """Events, newest first → EventList."""
    return ApiCall("GET", _path("events", limit=limit, before=before, kind=kind))


def requests(*, service: str = "", errors: bool = False, since: str = "", limit: int = 50) -> ApiCall:
    """Requests from the proxies' logs, newest first; `since` such as `5m` → RequestList."""
    return ApiCall(
        "GET",
        _path("requests", service=service, since=since, errors=str(errors).lower(), limit=limit),
    )


def refusals() -> ApiCall:
    """What policies refused lately, by caller, service and policy → RefusalList."""
    return ApiCall("GET", _path("refusals"))


def tap(service: str, *, errors: bool = False, method: str = "", path: str = "", caller: str = "") -> ApiCall:
    """Recent requests of a service → RequestList; as an event stream, its live requests → TapEvent."""
    query = {"method": method, "path": path, "caller": caller, "errors": "true" if errors else ""}
    return ApiCall("GET", _path("tap", service, **query))


def explain(id: str) -> ApiCall:
    """Why a request failed or was slow, by its x-request-id or trace ID or a prefix → Explanation."""
    return ApiCall("GET", _path("why", id))


def _proxy_path(name: str, view: str, **query: str | float | None) -> str:
    """A path below a proxy. `name` is `NAME`, or `SERVICE/NAME` where several services have such a proxy."""
    service, _, node = name.rpartition("/")
    return _path("proxies", node, view, service=service, **query)


def _path(*segments: str, **query: str | float | None) -> str:
    """A path under PREFIX, segments quoted; empty and None query parameters are omitted."""
    path = "/".join([PREFIX, *(quote(segment, safe="") for segment in segments)])
    parameters = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(parameters)}" if parameters else path
