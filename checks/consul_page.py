"""The page docs/consul-api.md: what `mesh consul` serves of Consul's HTTP API, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from meshwright.sidecar.consul import endpoints, fields
from meshwright.sidecar.consul.model import CheckDefinition, ConsulModel, ServiceRegistration

HEAD = """# Consul's HTTP API, as served

`python -m checks.reference` generates this page from the code. [Consul's API](consul.md)
explains how `mesh consul` serves it.
"""


def page() -> str:
    """Its text."""
    every = ((f"`{name}`", text) for name, text in endpoints.EVERYWHERE.items() if text)
    some = ((f"`{name}`", text) for name, text in endpoints.PARAMETERS.items())
    refused = ((f"`{name}`", text) for name, text in endpoints.UNSERVED_PARAMETERS.items())
    unserved = ((f"`{path}`", text) for path, text in endpoints.UNSERVED.items())
    return "".join(
        [
            HEAD,
            _section("Endpoints", ("endpoint", "", "parameters"), _endpoints()),
            _section("Query parameters of every endpoint", ("parameter", ""), every),
            _section("Query parameters of some", ("parameter", ""), some),
            "\nAny other parameter is refused with 400, and these with a reason:\n",
            _table(("parameter", "why"), refused),
            _section("Endpoints that answer 501", ("path", "why"), unserved),
            _fields("Fields of a service", ServiceRegistration, fields.IGNORED_OF_SERVICE),
            _fields("Fields of a check", CheckDefinition, fields.IGNORED_OF_CHECK),
        ]
    )


def _endpoints() -> Iterator[tuple[str, ...]]:
    for endpoint in endpoints.ENDPOINTS:
        path = re.sub(r"\{(\w+)(:[^}]*)?\}", lambda match: _placeholder(match[1], match[2]), endpoint.path)
        yield (
            f"`{endpoint.method} {path}`",
            endpoint.does,
            ", ".join(f"`{name}`" for name in endpoint.parameters),
        )


def _placeholder(name: str, pattern: str | None) -> str:
    return (pattern or "")[1:] if name == "verb" else name.upper()


def _fields(title: str, model: type[ConsulModel], ignored: Mapping[str, str]) -> str:
    supported = [(f"`{field.alias}`", "supported") for field in model.model_fields.values()]
    refused = [(f"`{name}`", f"**refused**: {reason}") for name, reason in model.refused.items()]
    notes = [(f"`{name}`", f"ignored, with a `Warning` header: {reason}") for name, reason in ignored.items()]
    return _section(title, ("field", ""), [*supported, *refused, *notes])


def _section(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return f"\n## {title}\n" + _table(head, rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return (
        "\n"
        + "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        + "\n"
    )
