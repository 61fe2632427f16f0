"""The secrets of a mesh that this host knows: tokens, keys, passwords, credentials and those of apps."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from meshwright.sidecar.config import AgentConfig, load_config

_FILES = (
    "*.token",
    "ca/*.key",
    "store/password",
    "tokens/*",
    "sidecars/*/credential",
    "sidecars/*/identity.json",
    "instances/*/*token*",
    "instances/*/sidecars/*/credential",
    "instances/*/sidecars/*/identity.json",
)
"""Files of a state directory with secrets (docs/operations.md)."""

_CONFIGURATIONS = ("agent-config.json", "instances/*/agent-config.json")

SECRET_NAME = re.compile(r"(?i)password|passwd|secret|token|credential|(^|_)key$|api_?key|_URL$")
"""Names of variables whose value may be a secret. A URL may have a password in it."""

_KEY_LINE = 40
"""Characters of a line of a PEM key that cannot stand anywhere else by chance."""


def known_secrets(state: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """The secrets in a state directory, in its apps' environments, and in the settings of this process."""
    for pattern in _FILES:
        for path in state.glob(pattern):
            with suppress(OSError):
                yield from _secrets_in(path.name, path.read_bytes())
    for pattern in _CONFIGURATIONS:
        for path in state.glob(pattern):
            with suppress(OSError, ValueError):
                yield from _app_secrets(load_config(path))
    yield from _named_secrets({name: text for name, text in environ.items() if name.startswith("MESH_")})
    with suppress(OSError, KeyError):
        yield Path(environ["MESH_TOKEN_FILE"]).read_text().strip()


def _secrets_in(name: str, content: bytes) -> Iterator[str]:
    """What of a file is secret: its text, the lines of a key, or bytes as they are written in text."""
    if name == "identity.json":
        yield from _strings(json.loads(content))
        return
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        yield base64.b64encode(content).decode()
        yield content.hex()
        return
    yield from _lines(text)


def _strings(value: Any) -> Iterator[str]:
    """The lines of private keys anywhere in a document."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, str) and "PRIVATE KEY" in value:
        yield from _lines(value)


def _lines(text: str) -> Iterator[str]:
    if "-----BEGIN" in text:
        yield from (line for line in text.splitlines() if len(line) >= _KEY_LINE and "-----" not in line)
    else:
        yield text


def _app_secrets(config: AgentConfig) -> Iterator[str]:
    for workload in config.workloads:
        yield from _named_secrets(workload.env)


def _named_secrets(variables: Mapping[str, str]) -> Iterator[str]:
    for name, text in variables.items():
        if not SECRET_NAME.search(name):
            continue
        if "://" not in text:
            yield text
        elif match := re.search(r"://[^/@\s]*?:([^/@\s]+)@", text):
            yield match[1]
