"""`python -m bench [--json FILE]`: runs every benchmark in turn. It prints figures and judges nothing.

Each benchmark is a module with more options: `python -m bench.xds --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BENCHMARKS = (
    *("snapshot", "verification", "xds", "intake", "demo", "changes", "journeys"),
    *("overhead", "limits", "limit_keys", "egress", "isolation", "series", "history"),
    *("graph", "dash", "commands"),
)


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
            result = subprocess.run(command, check=False, env={**os.environ, "GRPC_VERBOSITY": "NONE"})
            if result.returncode:
                return result.returncode
            figures[name] = json.loads(file.read_text())
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
