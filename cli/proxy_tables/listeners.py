"""A proxy's listeners: a row for each filter chain. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.cli.proxy_tables.dump import Json, Row, address_text, cluster_shares, resources

_MATCHES = {
    "server_names": "SNI",
    "application_protocols": "ALPN",
    "prefix_ranges": "to",
    "source_prefix_ranges": "from",
    "direct_source_prefix_ranges": "peer",
}
"""List fields of a FilterChainMatch, and how their values are introduced."""


def listener_rows(configs: Iterable[Json]) -> Iterator[Row]:
    """Listener, address, what a connection has to match, and where it goes."""
    for listener, status, version in resources(configs, "ListenersConfigDump", "listener"):
        chains = [(_match_text(chain), chain) for chain in listener.get("filter_chains", ())]
        if default := listener.get("default_filter_chain"):
            chains.append(("no other chain", default))
        # One for UDP may have none, and what was rejected too.
        for match, chain in chains or [("", {})]:
            yield {
                "name": listener.get("name", ""),
                "address": address_text(listener.get("address", {})),
                "match": match,
                "destination": _destination(chain),
                "status": status,
                "filters": [item.get("name", "") for item in chain.get("filters", ())],
                "version": version,
            }


def _match_text(chain: Json) -> str:
    match = chain.get("filter_chain_match", {})
    texts = []
    if "destination_port" in match:
        texts.append(f"port {match['destination_port']}")
    if protocol := match.get("transport_protocol"):
        texts.append(protocol)
    for field, word in _MATCHES.items():
        if values := [_value_text(value) for value in match.get(field, ())]:
            texts.append(f"{word} {','.join(values)}")
    return " ".join(texts) or "all"


def _value_text(value: Json | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value.get('address_prefix', '')}/{value.get('prefix_len', 0)}"


def _destination(chain: Json) -> str:
    """Where the last filter, which is the terminal one, sends a connection or its requests."""
    filters = chain.get("filters", ())
    if not filters:
        return ""
    config = filters[-1].get("typed_config", {})
    if "rds" in config:
        return f"route {config['rds'].get('route_config_name', '')}"
    if "route_config" in config:
        return f"inline route {config['route_config'].get('name', '')}".rstrip()
    shares = cluster_shares(config)
    return f"cluster {', '.join(shares)}" if shares else str(filters[-1].get("name", ""))
