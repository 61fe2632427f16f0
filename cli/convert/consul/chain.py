"""Where requests to a service go, as Consul's discovery chain says: router, splitter, resolver."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from meshwright.cli.convert.documents import Document, Documents
from meshwright.cli.convert.istio.filters import header_modifier
from meshwright.cli.convert.reading import Value
from meshwright.sidecar.consul.model import TAG_LABEL

_META = re.compile(
    r"""\s*\(?\s*Service\.Meta\.?(?:\["?([\w./-]+)"?\]|([\w-]+))\s*==\s*("?)([\w./-]+)\3\s*\)?\s*"""
)
_TAG = re.compile(
    r"""\s*\(?\s*(?:"?([\w.-]+)"?\s+in\s+Service\.Tags|Service\.Tags\s+contains\s+"?([\w.-]+)"?)\s*\)?\s*"""
)
_MAX_HOPS = 8
"""Redirects in a row, and splitters within splitters: more are a circle."""

Backend = tuple[float, Document, list[Document]]
"""A share in percent, a backendRef, and changes of headers."""


@dataclass(slots=True)
class Chain(Documents):
    """The entries by name, and what was made so far."""

    routers: dict[str, Value] = field(default_factory=dict)
    splitters: dict[str, Value] = field(default_factory=dict)
    resolvers: dict[str, Value] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)
    """By service; of those without one under an empty name."""

    def services(self) -> list[str]:
        """The services whose requests do not simply go there, sorted."""
        resolved = {
            name
            for name, resolver in self.resolvers.items()
            if resolver.get("redirect") or resolver.get("defaultSubset")
        }
        return sorted(set(self.routers) | set(self.splitters) | resolved)

    def split(self, service: str, source: Value, hops: int = 0) -> list[Backend]:
        """The backends of a service without a subset; an empty list if there is none in the mesh."""
        splitter = self.splitters.get(service)
        if splitter is None or hops > _MAX_HOPS:
            ref = self.resolve(service, "", source)
            return [] if ref is None else [(100.0, ref, [])]
        result: list[Backend] = []
        for split in splitter.items("splits"):
            share = split.number("weight") or 0.0
            name, subset = split.text("service") or service, split.text("serviceSubset")
            changes = header_changes(split)
            if elsewhere(split):
                continue
            if name != service and not subset:
                legs = self.split(name, split, hops + 1)
            else:
                ref = self.resolve(name, subset, split)
                legs = [] if ref is None else [(100.0, ref, [])]
            result += [(share * part / 100, ref, [*changes, *inner]) for part, ref, inner in legs]
        return result

    def resolve(self, service: str, subset: str, source: Value, hops: int = 0) -> Document | None:
        """The backendRef of a service and subset; None, and a remark at `source`, without one."""
        resolver = self.resolvers.get(service)
        if resolver is None:
            if subset:
                source.problem(f"names subset {subset} of {service}, which no resolver here has", below=False)
                return None
            return {"name": service}
        redirect = resolver.get("redirect")
        if redirect and hops < _MAX_HOPS:
            if elsewhere(redirect):
                return None
            target, part = redirect.text("service") or service, redirect.text("serviceSubset")
            if target != service:
                return self.resolve(target, part, redirect, hops + 1)
            subset = subset or part
        subset = subset or resolver.text("defaultSubset")
        if not subset:
            return {"name": service}
        for entry in resolver.items("subsets"):
            if entry.text("name") == subset:
                labels = subset_labels(entry)
                if labels == {}:
                    return {"name": service}
                name = f"{service}-{subset}"
                return {"group": "meshwright.io", "kind": "Subset", "name": name} if labels else None
        source.problem(f"names subset {subset} of {service}, which its resolver does not have", below=False)
        return None


def elsewhere(place: Value) -> bool:
    """Whether a destination is outside the mesh; the fields that say so stay unread, and so are named."""
    content: Any = place.node.value
    names = ("datacenter", "peer", "samenessGroup")
    return isinstance(content, dict) and any(content.get(name) for name in names)


def subset_labels(entry: Value) -> dict[str, str] | None:
    """The labels that a filter asks for, none for every instance; None, and a remark, for another filter."""
    condition = entry.get("filter")
    if condition is None or condition.node.value == "":
        return {}
    labels: dict[str, str] = {}
    for part in re.split(r"\s+and\s+", condition.string()):
        match, tag = _META.fullmatch(part), _TAG.fullmatch(part)
        key, value = (f"{TAG_LABEL}{tag[1] or tag[2]}", "true") if tag else ("", "")
        if match:
            key, value = match[1] or match[2], match[4]
        if not key or key in labels:
            condition.problem(
                "is not made of `Service.Meta.KEY == VALUE` and `TAG in Service.Tags`, joined by `and`: "
                "there is no Subset, and it gets no requests"
            )
            return None
        labels[key] = value
    return labels


def header_changes(owner: Value) -> list[Document]:
    """`requestHeaders` and `responseHeaders` as header modifiers."""
    return [
        *header_modifier(owner.get("requestHeaders"), "RequestHeaderModifier", "requestHeaderModifier"),
        *header_modifier(owner.get("responseHeaders"), "ResponseHeaderModifier", "responseHeaderModifier"),
    ]
