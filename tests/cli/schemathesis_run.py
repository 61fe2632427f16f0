"""Random requests by an OpenAPI document, sent by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def explore(url: str, headers: Mapping[str, str], examples: int, folder: Path) -> None:
    """Send `examples` requests to each operation of the document at `url`. None may fail with a 5xx."""
    command = (
        *(sys.executable, "-m", "schemathesis.cli", "run", url, "--seed", "1"),
        *("--max-examples", str(examples), "--phases", "fuzzing", "--checks", "not_a_server_error"),
        *("--suppress-health-check", "all", "--request-timeout", "60"),
        *(part for name, value in headers.items() for part in ("--header", f"{name}: {value}")),
    )
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout
