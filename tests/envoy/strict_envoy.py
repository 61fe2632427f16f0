"""An Envoy that rejects a regular expression that validation accepts, to test rejected configuration."""

from __future__ import annotations

from pathlib import Path

from meshwright.control_plane.envoy_binary import envoy_binary

PATTERN = "/[a-z]{900}"
"""Valid, and larger than what this Envoy accepts."""

ERROR = "regex '/[a-z]{900}' RE2 program size of 905 > max program size of 800"
"""Envoy's message."""

_SCRIPT = """\
#!/bin/sh
exec '%s' "$@" --config-yaml '{"layered_runtime": {"layers": [
  {"name": "test", "static_layer": {"re2.max_program_size.error_level": 800}}]}}'
"""


def write_strict_envoy(folder: Path) -> str:
    """Write the program into `folder`; returns its path, for `MESH_ENVOY`."""
    path = folder / "strict-envoy"
    path.write_text(_SCRIPT % envoy_binary())
    path.chmod(0o700)
    return str(path)
