"""`python -m bench [--json FILE]`: runs every benchmark in turn. It prints figures and judges nothing.

Each benchmark is a module with more options: `python -m bench.xds --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

BENCHMARKS = (
    *("snapshot", "verification", "xds", "intake", "demo", "changes", "journeys"),
    *("overhead", "limits", "limit_keys", "egress", "isolation", "series", "history"),
    *("graph", "dash", "commands"),
)


def _run(command: Sequence[str]) -> int:
    """Run a benchmark; returns its exit code. A SIGTERM is passed on, and after Ctrl-C it may clean up."""
    with subprocess.Popen(command, env={**os.environ, "GRPC_VERBOSITY": "NONE"}) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise


def main() -> int:
    """Run them all; returns the exit code of the first that fails."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", default=",".join(BENCHMARKS), help="a comma-separated selection of " + ",".join(BENCHMARKS)
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            print(f"== {name}", flush=True)
            file = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", f"bench.{name}", "--json", str(file)]
            if code := _run(command):
                return code
            figures[name] = json.loads(file.read_text())
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
