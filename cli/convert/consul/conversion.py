"""Files of Consul's config entries as documents of the mesh, with everything that is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from meshwright.cli.convert.consul.chain import Chain
from meshwright.cli.convert.consul.defaults import convert_proxy_defaults, convert_service_defaults
from meshwright.cli.convert.consul.entries import entry_kind, read_entries
from meshwright.cli.convert.consul.fields import KINDS
from meshwright.cli.convert.consul.intentions import Intentions, add_intentions, read_intentions
from meshwright.cli.convert.consul.resolver import convert_resolver
from meshwright.cli.convert.consul.routes import add_route
from meshwright.cli.convert.conversion import Conversion, finished, metadata_name, report_unread
from meshwright.cli.convert.reading import Value

_CONVERTERS: Mapping[str, Callable[[Value, str, Chain], None]] = {
    "service-resolver": convert_resolver,
    "service-defaults": convert_service_defaults,
    "proxy-defaults": convert_proxy_defaults,
}
_BOOKKEEPING = ("meta", "createIndex", "modifyIndex", "hash")


def convert(files: Iterable[tuple[str, str]]) -> Conversion:
    """Convert the text of files, each with its path. Raises nothing."""
    sources, invalid = read_entries(files)
    if invalid:
        return Conversion((), (), invalid)
    chain = Chain()
    named = [(source, kind, name) for source in sources for kind, name in [_kind_and_name(source)] if name]
    intentions: list[Intentions] = []
    for source, kind, name in named:
        if not _remember(source, kind, name, chain):
            source.problem(f"is the second {kind} of {name}: it is not converted")
        elif kind == "service-intentions":
            intentions.append(read_intentions(source, name))
    for source, kind, name in named:
        if kind in _CONVERTERS and (kind != "service-resolver" or chain.resolvers[name] is source):
            _CONVERTERS[kind](source, name, chain)
    for service in chain.services():
        add_route(service, chain)
    add_intentions(intentions, chain)
    for source, kind, _ in named:
        report_unread(source, kind, KINDS[kind])
    return finished(sources, chain.documents)


def _remember(source: Value, kind: str, name: str, chain: Chain) -> bool:
    """Add an entry to what others depend on; false if there is one already."""
    places = {
        "service-router": chain.routers,
        "service-splitter": chain.splitters,
        "service-resolver": chain.resolvers,
    }
    if kind in places:
        return places[kind].setdefault(name, source) is source
    if kind == "service-defaults":
        chain.protocols[name] = source.text("protocol")
    elif kind == "proxy-defaults" and (config := source.get("config")):
        chain.protocols[""] = config.text("protocol")
    return True


def _kind_and_name(source: Value) -> tuple[str, str]:
    """The kind and the name; of an intention, that of its destination. No name, and a remark, without one."""
    kind = entry_kind(source.node.value)
    if not kind:
        source.problem(f"is no config entry that is converted: the kinds are {', '.join(KINDS)}")
        return "", ""
    for field in _BOOKKEEPING:
        if value := source.get(field):
            value.skip()
    if source.get("apiVersion"):
        name = metadata_name(source, kind)
    else:
        source.get("kind")
        name = source.text("name")
    if kind == "proxy-defaults":
        return kind, name or "global"
    if kind == "service-intentions" and (destination := source.get("destination")):
        name = destination.text("name")
    if not name:
        source.problem(f"{kind} has no name: it is not converted")
    return kind, name
