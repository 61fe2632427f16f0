"""A trace as lines of text: its tree, service by service, with a bar for when each step was."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cli import console
from cli.traces import clock, milliseconds

Span = Mapping[str, Any]

APP = "/app/"
"""How the clusters begin by which an Envoy reaches its own service."""

DURATION_WIDTH, GAP = 8, 2
DEEPEST = 12
"""Columns of indentation at most: what hangs deeper is shown as deep as that."""


def lines(trace: Mapping[str, Any], width: int) -> Iterator[str]:
    """The whole trace (a Trace of the API as plain JSON) in lines of at most `width` columns."""
    spans: Sequence[Span] = trace["tree"]
    yield from _head(trace, width)
    bar = width // 3
    label = width - bar - DURATION_WIDTH - 2 * GAP
    retried = {span["parent"] for span in spans if span["attempt"]}
    known = {"", *(span["id"] for span in spans)}
    shown = ""
    for span in spans:
        indent = " " * min(span["depth"], DEEPEST)
        if span["service"] != shown:
            shown = span["service"]
            yield _cut(f"{indent}{console.safe(shown)}", width)
        words = f"{indent} {_step(span, tried=span['parent'] in retried)}"
        took = milliseconds(span["duration"])
        yield f"{_cut(words, label):<{label}}  {took:>{DURATION_WIDTH}}  {_bar(span, trace, bar)}".rstrip()
        yield from _reasons(span, indent + "     ", width, orphan=span["parent"] not in known)


def _head(trace: Mapping[str, Any], width: int) -> Iterator[str]:
    failed = trace["errors"]
    state = console.state("bad", f"{failed} failed") if failed else console.state("good", "none failed")
    yield f"trace {trace['id']}"
    yield _cut(
        f"{clock(trace['start'])}   {milliseconds(trace['duration'])}   {trace['spans']} spans of "
        f"{len(trace['services'])} services   {state}",
        width,
    )
    if trace["dropped"]:
        yield f"{trace['dropped']} more spans did not fit"
    yield ""


def _step(span: Span, *, tried: bool) -> str:
    """One step in words: who told it, what was done, which try, with what status."""
    level: console.Level = "bad" if span["error"] else "good"
    attributes = span["attributes"]
    who = "proxy" if span["proxy"] else "app"
    status = attributes.get("http.status_code") or attributes.get("http.response.status_code") or ""
    attempt = f"try {span['attempt'] + 1}" if tried and span["kind"] == "client" else ""
    words = [word for word in (f"{who:<5}", status, attempt, _deed(span, attributes)) if word]
    return console.safe(console.state(level, " ".join(words)))


def _deed(span: Span, attributes: Mapping[str, str]) -> str:
    """What a step did: for Envoy, a request taken in or sent on; for a service, in its own words."""
    if not span["proxy"]:
        return str(span["operation"])
    if span["kind"] == "client":
        cluster = str(attributes.get("upstream_cluster.name", attributes.get("upstream_cluster", "?")))
        return "→ app" if cluster.startswith(APP) else f"→ {cluster}"
    try:
        path = str(urlsplit(attributes.get("http.url", "")).path)
    except ValueError:
        path = ""
    return f"{attributes.get('http.method', '')} {path}".strip() or str(span["operation"])


def _bar(span: Span, trace: Mapping[str, Any], width: int) -> str:
    """When a step was, as a share of the trace; one column at least."""
    whole: float = trace["duration"] or 1.0
    offset: float = (span["start"] - trace["start"]) * 1000
    first: int = min(width - 1, max(0, int(offset / whole * width)))
    length: int = max(1, round(span["duration"] / whole * width))
    return " " * first + "━" * min(length, width - first)


def _reasons(span: Span, indent: str, width: int, *, orphan: bool) -> Iterator[str]:
    """Why a step went as it did: Envoy's flags in words, what the service said, a parent that is missing."""
    reasons = []
    for flag in span["flags"]:
        kinds = f" ({', '.join(flag['kinds'])})" if flag["kinds"] else ""
        reasons.append(f"{flag['flag']}: {flag['meaning']}{kinds}")
    if span["message"]:
        reasons.append(str(span["message"]))
    if orphan:
        reasons.append("its parent is not among the spans that were taken in")
    for reason in reasons:
        yield from textwrap.wrap(
            console.safe(reason), width, initial_indent=indent, subsequent_indent=indent + "  "
        )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
