"""A malformed `traceparent` starts a new trace, as W3C Trace Context section 4.3 asks.

Envoy makes no span at all for a request whose `traceparent` it cannot read, and passes the header on, so the
next proxies make none either. So the header is dropped before the span starts. Envoy then forgets the
`tracestate` as well. Neither a bad `tracestate` nor B3 ends its spans: the first is passed on unread, the
other is not read.

The mutations that run that early know no condition but an expression, and each expression costs 3 µs of CPU,
however simple. Most requests have no trace context, and for them none is evaluated: `COALESCE` ends at the
first operator with a value, and a header that exists if `traceparent` does not comes first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from meshwright.control_plane.envoy import codec, v3

_HEADER, _CHECKED, _ABSENT = "traceparent", "x-meshwright-traceparent", "x-meshwright-no-traceparent"

PARENT_HEADERS = (_HEADER, _CHECKED, _ABSENT)
"""The header of the trace context, the one that holds it while it is checked, and the one that says that
there is none.
"""

_LENGTHS = "^[0-f]{2}-[0-f]{32}-[0-f]{16}-[0-f]{2}$"
# One range instead of [0-9a-f]: Envoy accepts programs of at most 100 instructions in expressions.

_NOT_ZERO = "0*[1-9a-f][0-9a-f]*"
_DIGITS = f"^([0-9a-e][0-9a-f]|f[0-9a-e])-{_NOT_ZERO}-{_NOT_ZERO}-[0-9a-f]+$"
# Version ff is invalid, and so are identifiers of zeros only (section 3.2.2).


def keep_valid_parent() -> Iterator[v3.ConfigHeaderMutation]:
    """Early mutations that leave a `traceparent` that Envoy can read, and drop any other.

    Also one of a future version with more fields, which Envoy cannot read.
    """
    value = f"request.headers['{_HEADER}']"
    valid = f"{value}.matches('{_LENGTHS}') && {value}.matches('{_DIGITS}')"
    operators = [
        {"command": "REQ", "param": _ABSENT},
        {"command": "CEL", "param": f"{valid} ? {value} : ''"},
    ]
    yield from _remove(_CHECKED, _ABSENT)
    # An empty value is not added: the first exists only with the header, the second only without it, where
    # the text is the method, which every request has. Both are empty then, as is the result without a header.
    yield add_if_absent(_CHECKED, f"%REQ({_HEADER})%")
    yield _overwrite(_CHECKED, "")
    yield add_if_absent(_ABSENT, f"%REQ({_CHECKED}?:METHOD)%")
    yield _overwrite(_ABSENT, "")
    yield _overwrite(_CHECKED, f"%COALESCE({json.dumps({'operators': operators})})%")
    yield from _remove(_HEADER)
    yield add_if_absent(_HEADER, f"%REQ({_CHECKED})%")
    yield from _remove(_CHECKED, _ABSENT)


def early_mutations(mutations: Iterator[v3.ConfigHeaderMutation]) -> v3.TypedExtensionConfig:
    """The extension of a connection manager that changes headers before the span starts."""
    return v3.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=codec.pack(v3.EarlyHeaderMutation(mutations=mutations)),
    )


def add_if_absent(name: str, value: str) -> v3.ConfigHeaderMutation:
    """The mutation that adds a header unless it is there; an empty value is not added."""
    option = v3.HeaderValueOption(
        header=v3.HeaderValue(key=name, value=value), append_action=v3.HeaderValueOption.ADD_IF_ABSENT
    )
    return v3.ConfigHeaderMutation(append=option)


def _remove(*names: str) -> Iterator[v3.ConfigHeaderMutation]:
    return (v3.ConfigHeaderMutation(remove=name) for name in names)


def _overwrite(name: str, value: str) -> v3.ConfigHeaderMutation:
    """The mutation that changes a header if it is there; the value may be empty."""
    option = v3.HeaderValueOption(
        header=v3.HeaderValue(key=name, value=value),
        append_action=v3.HeaderValueOption.OVERWRITE_IF_EXISTS,
        keep_empty_value=True,
    )
    return v3.ConfigHeaderMutation(append=option)
