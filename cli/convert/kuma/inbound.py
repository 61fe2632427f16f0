"""MeshTrafficPermission, MeshRateLimit, MeshFaultInjection and MeshAccessLog."""

from __future__ import annotations

from meshwright.cli.convert.documents import WHOLE_MESH, Document, Documents
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.kuma.targets import called, clients, outbound, share
from meshwright.cli.convert.reading import Value

CLOSED = "no-permission"
"""The Authorization that refuses what no MeshTrafficPermission allows, as Kuma does."""

_REFUSE_ALL: Document = {"action": "deny"}


def convert_traffic_permission(spec: Value, name: str, documents: Documents) -> None:
    """Add an Authorization. Without a permission Kuma refuses, so the mesh does so, too."""
    documents.add_once(spec, "Authorization", CLOSED, {"targetRefs": [WHOLE_MESH], "default": "deny"})
    targets = called(spec)
    if targets is None:
        return
    rules = _permissions(spec, targets)
    if rules and not documents.add(spec, "Authorization", name, {"targetRefs": targets, "rules": rules}):
        documents.add(spec, "Authorization", name, {"targetRefs": targets, "rules": [_REFUSE_ALL]})


def _permissions(spec: Value, targets: list[Document]) -> list[Document]:
    """The rules of one permission. What cannot be converted allows nothing, and refuses every call."""
    rules: list[Document] = []
    allowed: list[str] = []
    refuses_others = False
    for entry in spec.items("from"):
        callers, default = clients(entry), entry.get("default")
        action = default.text("action").replace("_", "").lower() if default else ""
        if action not in ("allow", "allowwithshadowdeny", "deny"):
            (default or entry).problem("has no action that is known: nothing is allowed by it")
        elif action == "deny":
            refuses_others |= callers == [] and targets != [WHOLE_MESH]
            rules += _refusals(entry, callers, targets)
        elif callers is not None:
            allowed += callers
            rules += _rules(callers, ["allow"] if action == "allow" else ["allow", "audit"])
    if matchers := spec.get("rules"):
        matchers.problem("is not converted: callers are named by `from`; every call is refused instead")
        rules.append(_REFUSE_ALL)
    if refuses_others:  # whatever the mesh allows, but for the callers that the service allows
        rules.append({"action": "deny"} | ({"from": [{"notServices": allowed}]} if allowed else {}))
    return rules


def _refusals(entry: Value, callers: list[str] | None, targets: list[Document]) -> list[Document]:
    """The rules of an entry that refuses some callers; none if it refuses all, which are the others."""
    if callers is None:
        entry.note("refuses every call here, since its callers cannot be named")
        return [_REFUSE_ALL]
    if not callers and targets == [WHOLE_MESH]:
        entry.note("is what happens to every call without a permission")
    return _rules(callers, ["deny"]) if callers else []


def _rules(callers: list[str], actions: list[str]) -> list[Document]:
    entry: Document = {"from": [{"services": callers}]} if callers else {}
    return [({} if action == "allow" else {"action": action}) | entry for action in actions]


def convert_rate_limit(spec: Value, name: str, documents: Documents) -> None:
    """Add a RateLimit of the called service; it is for all callers together."""
    targets = called(spec)
    if targets is None:
        return
    for entry in spec.items("from"):
        callers, default = clients(entry), entry.get("default")
        local = default.get("local") if default else None
        http = local.get("http") if local else None
        if callers:
            entry.problem("is not converted: a RateLimit is for all callers, or for each apart")
        if callers != [] or http is None:
            continue
        requests, interval = http.integer("requests"), read_duration(http.get("interval"))
        if http.flag("disabled"):
            http.skip()
            continue
        limit = {"requests": requests, "per": interval}
        documents.add(http, "RateLimit", name, {"targetRefs": targets, "limits": [limit]})


def convert_fault_injection(spec: Value, name: str, documents: Documents) -> None:
    """Add a FaultInjection for each entry of `from` and `to`."""
    if spec.get("to"):
        for policy, default, body in outbound(spec, name):
            _add_faults(default, policy, body, documents)
    targets = called(spec) if spec.get("from") else None
    for source in spec.items("from") if targets else ():
        callers, conf = clients(source), source.get("default")
        if callers is not None and conf:
            about: Document = {"targetRefs": targets} | ({"from": callers} if callers else {})
            _add_faults(conf, name, about, documents)


def _add_faults(default: Value, name: str, body: Document, documents: Documents) -> None:
    """Kuma has a list of faults; one delay and one abort of it make a FaultInjection."""
    faults: Document = {}
    for fault in default.items("http"):
        if delay := fault.get("delay"):
            if "delay" in faults:
                delay.problem("is not converted: a FaultInjection has one delay")
            elif fixed := read_duration(delay.get("value")):
                faults["delay"] = {"fixed": fixed, "percent": share(delay.get("percentage"))}
        if abort := fault.get("abort"):
            if "abort" in faults:
                abort.problem("is not converted: a FaultInjection has one abort")
                continue
            faults["abort"] = {
                "status": abort.integer("httpStatus"),
                "percent": share(abort.get("percentage")),
            }
    if faults:
        default.note("injects faults at the callers here, so the called service does not see these requests")
        documents.add(default, "FaultInjection", name, body | faults)


def convert_access_log(spec: Value, name: str, documents: Documents) -> None:
    """Add a Telemetry that logs every request, if any entry has a backend."""
    targets = called(spec)
    if targets is None:
        return
    entries = [*spec.items("to"), *spec.items("from"), *spec.items("rules")]
    backends = []
    for entry in entries:
        if ref := entry.get("targetRef"):
            if ref.text("kind") != "Mesh":
                ref.note("is ignored: a Telemetry is for all requests of a proxy")
            ref.skip()
        default = entry.get("default")
        backends += default.items("backends") if default else []
    for backend in backends:
        backend.text("type")
    if backends:
        spec.note("is written to logs/NAME.proxy.log here, one JSON line for each request")
    body: Document = {"targetRefs": targets, "accessLog": "All" if backends else "Off"}
    documents.add(spec, "Telemetry", name, body)
