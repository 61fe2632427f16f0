"""Istio's Telemetry as ours: sampling and access logs."""

from __future__ import annotations

import re

from meshwright.cli.convert.documents import Document
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.istio.targets import read_targets
from meshwright.cli.convert.reading import Value

_ONLY_ERRORS = re.compile(r"\s*response\.code\s*(>=\s*500|>\s*499)\s*")


def convert_telemetry(document: Value, name: str, scope: Scope) -> None:
    """Add what one Telemetry says about traces and access logs."""
    spec = document.get("spec")
    targets = read_targets(document, spec)
    if spec is None or targets is None:
        return
    settings = _sampling(_only(spec, "tracing")) | _access_log(_only(spec, "accessLogging"))
    if settings:
        scope.add(document, "Telemetry", name, {"targetRefs": targets} | settings)


def _only(spec: Value, field: str) -> Value | None:
    """The first entry; others, which are for single directions or providers, are named."""
    entries = spec.items(field)
    for entry in entries[1:]:
        entry.problem("is not converted: only the first entry is")
    return entries[0] if entries else None


def _sampling(tracing: Value | None) -> Document:
    if tracing is None:
        return {}
    if providers := tracing.get("providers"):
        providers.skip()
    percent = tracing.number("randomSamplingPercentage")
    if tracing.flag("disableSpanReporting"):
        return {"sampling": 0}
    return {} if percent is None else {"sampling": percent}


def _access_log(logging: Value | None) -> Document:
    if logging is None:
        return {}
    if providers := logging.get("providers"):
        providers.skip()
    condition = logging.get("filter")
    expression = condition.get("expression") if condition else None
    if logging.flag("disabled"):
        return {"accessLog": "Off"}
    if expression and _ONLY_ERRORS.fullmatch(expression.string()):
        return {"accessLog": "Errors"}
    if expression:
        expression.problem("is not converted: every request is logged; `response.code >= 500` is Errors")
    return {"accessLog": "All"}
