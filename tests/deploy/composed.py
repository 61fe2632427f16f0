"""docker-compose.yml as compose reads it: merges done, variables filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Service = dict[str, Any]

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<rest>[^}]*))?\})")


def read(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The whole file; raises ValueError for a variable that is demanded and not there."""
    document: dict[str, Any] = YAML(typ="safe").load(path)
    filled = _filled(document, variables)
    assert isinstance(filled, dict)
    return filled


def variables(path: Path) -> dict[str, str]:
    """The assignments of a `.env` file."""
    lines = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in lines}


def owner(services: Mapping[str, Service], name: str) -> str:
    """The container whose network a service lives in: its own unless it joins another's."""
    mode = services[name].get("network_mode", "")
    return owner(services, mode.removeprefix("service:")) if mode.startswith("service:") else name


def environment(service: Service) -> dict[str, str]:
    """A service's variables."""
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def mounts(service: Service, name: str) -> list[tuple[str, str, bool]]:
    """What is mounted, as (source, target, read only); a source without a slash is a named volume."""
    entries = []
    for item in service.get("volumes", ()):
        if isinstance(item, str):
            source, target, *mode = item.split(":")
            entries.append((source, target, mode == ["ro"]))
        else:
            below = item.get("volume", {}).get("subpath", "")
            entries.append((f"{item['source']}:{below}", item["target"], item.get("read_only", False)))
    entries += [(f"secret:{item}", f"/run/secrets/{item}", True) for item in service.get("secrets", ())]
    assert all(target.startswith("/") for _, target, _ in entries), name
    return entries


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return _VARIABLE.sub(lambda match: _value(match, variables), value) if isinstance(value, str) else value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    text = variables.get(match["name"], "")
    if not text and match["kind"] == "?":
        raise ValueError(f"{match['name']}: {match['rest']}")
    return text or (match["rest"] if match["kind"] == "-" else "")
