"""Contexts: named meshes in a file of the user's configuration directory, as kubectl has them for clusters.

The file holds no secret: a context names a file with a token, or the state directory of a mesh on this host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from meshwright.control_plane.api.private_files import read_private
from meshwright.control_plane.errors import InputError, NotFoundError


@dataclass(frozen=True, slots=True)
class NamedMesh:
    """A mesh: `api` with `token_file`, or `state`; paths are absolute."""

    api: str = ""
    token_file: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Contexts:
    """The contexts by name; `current` is the one that `mesh context use` chose, empty for none."""

    current: str = ""
    contexts: Mapping[str, NamedMesh] = field(default_factory=dict)

    def get(self, name: str) -> NamedMesh:
        """The context of a name; raises NotFoundError, with the closest name."""
        if name in self.contexts:
            return self.contexts[name]
        from difflib import get_close_matches  # noqa: PLC0415  only for an error

        close = get_close_matches(name, self.contexts, 1)
        advice = f"did you mean {close[0]}?" if close else "see `mesh context list`"
        raise NotFoundError(f"no such context: {name[:100]}: {advice}")

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def contexts_file(environ: Mapping[str, str]) -> Path:
    """Where contexts are: `meshwright/contexts.json` in `$XDG_CONFIG_HOME`, by default `~/.config`."""
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(home) / "meshwright" / "contexts.json"


def read_contexts(environ: Mapping[str, str]) -> Contexts:
    """The user's contexts, none without a file; raises InputError if it cannot be read."""
    path = contexts_file(environ)
    try:
        content: dict[str, Any] = json.loads(read_private(path))
        return Contexts(
            str(content["current"]),
            {name: NamedMesh(**entry) for name, entry in content["contexts"].items()},
        )
    except FileNotFoundError:
        return Contexts()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}:1:1: cannot be read ({error}): correct it, or remove it") from None
