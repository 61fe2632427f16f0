"""Environment variables that commands, agents and the demo's services read, for docs/reference.md.

The control plane's settings are in `control_plane/config.py`.
"""

from __future__ import annotations

from typing import NamedTuple


class CommandSetting(NamedTuple):
    """A variable, its default and its meaning, as the reference shows them."""

    name: str
    default: str
    description: str


COMMAND_SETTINGS = (
    CommandSetting("MESH_CONTEXT", "", "The context that commands are about, as `mesh --context`."),
    CommandSetting("MESH_API", "", "The admin API of a remote mesh, for commands."),
    CommandSetting(
        "MESH_TOKEN_FILE", "", "A file with the token for `MESH_API`: the admin or read-only token."
    ),
    CommandSetting(
        "MESH_AUTHOR",
        "`user@host`",
        "Who makes a change, for the history: people share one user in a container.",
    ),
    CommandSetting(
        "MESH_JAEGER_UI",
        "",
        "The address of Jaeger's pages (`http://jaeger:16686`), which `J` opens in `mesh dash`.",
    ),
    CommandSetting(
        "MESH_OTLP",
        "",
        "`host:port` of an OTLP/gRPC collector that gets spans in place of the control plane.",
    ),
    CommandSetting(
        "MESH_TRACES_EXPORTER", "`otlp`", "How the demo's services send spans: `otlp` or `jaeger`."
    ),
    CommandSetting("MESH_ENVOY", "the packaged one", "An Envoy binary to run."),
)
