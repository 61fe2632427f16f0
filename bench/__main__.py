"""`python -m bench [--json FILE]`: every benchmark, one after the other. Figures, not a verdict.

Each is a module of its own with more options: `python -m bench.xds --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PARTS = ("snapshot", "xds", "intake", "demo", "overhead", "series", "graph", "dash")


def main() -> int:
    """Run all of them; the exit code of the first that fails."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ",".join(PARTS))
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in options.only.split(","):
            print(f"== {part}", flush=True)
            file = Path(folder) / f"{part}.json"
            command = [sys.executable, "-m", f"bench.{part}", "--json", str(file)]
            done = subprocess.run(command, check=False, env={**os.environ, "GRPC_VERBOSITY": "NONE"})
            if done.returncode:
                return done.returncode
            figures[part] = json.loads(file.read_text())
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
