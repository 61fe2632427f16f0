"""The version of an Envoy binary."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from meshwright.cli.errors import CommandError
from meshwright.control_plane.api import errors

ENVOY_TIMEOUT = 30.0
"""Seconds for `envoy --version`, on a busy machine too."""


def envoy_version(binary: Path) -> str:
    """The version that a binary says it has; raises CommandError if it does not run."""
    try:
        done = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=ENVOY_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CommandError(errors.FAILED, f"{binary}: does not run: {error}") from None
    match = re.search(r"version: [^/]*/([^/]+)/", done.stdout)
    return match[1] if match else "unknown"
