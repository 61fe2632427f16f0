"""docker-compose.yml as Compose reads it, with merge keys resolved and variables replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]

Service = dict[str, Any]

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<rest>[^}]*))?\})")


def read(path: Path, variables: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """The file as a mapping, with `variables` of the environment or of `.env`."""
    document: dict[str, Any] = YAML(typ="safe").load(path)
    interpolated = _interpolate(document, variables)
    assert isinstance(interpolated, dict)
    return interpolated


def init_module() -> ModuleType:
    """init.py, which creates the secrets."""
    spec = spec_from_file_location("compose_init", ROOT / "deploy/compose/init.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network_owner(services: Mapping[str, Service], name: str) -> str:
    """The service whose network namespace a service is in: its own, unless `network_mode` names another."""
    mode = services[name].get("network_mode", "")
    return network_owner(services, mode.removeprefix("service:")) if mode.startswith("service:") else name


def environment(service: Service) -> dict[str, str]:
    """The environment variables of a service."""
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def mounts(service: Service, name: str) -> list[tuple[str, str, bool]]:
    """Mounts as (source, target, read only); a source without a slash is a named volume."""
    entries = []
    for volume in service.get("volumes", ()):
        if isinstance(volume, str):
            source, target, *mode = volume.split(":")
            entries.append((source, target, mode == ["ro"]))
        else:
            entries.append((volume["source"], volume["target"], volume.get("read_only", False)))
    assert all(target.startswith("/") for _, target, _ in entries), name
    return entries


def _interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolate(item, variables) for item in value]
    return _VARIABLE.sub(lambda match: _value(match, variables), value) if isinstance(value, str) else value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    value = variables.get(match["name"], "")
    if not value and match["kind"] == "?":
        raise ValueError(f"{match['name']}: {match['rest']}")
    return value or (match["rest"] if match["kind"] == "-" else "")
