"""How many series Prometheus has of one sidecar that calls 6 services, and of one that calls 100.

`python -m bench.series [--json FILE]`

Each is a mesh of real Envoys whose sidecar `caller-1` calls every other service once. Counted is what its
ready port shows, and what is left of it after the relabelling of deploy/prometheus/prometheus.yml. A hundred
Envoys on one host need more inotify instances than the 128 that Linux gives a user.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.envoy.harness import ROOT, application, settings
from tests.fakes.ports import free_port

SIZES = (6, 100)
APP = ["sh", "-c", f"exec {sys.executable} -m http.server $PORT --bind 127.0.0.1"]


INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES = 512
"""Two for each Envoy, and as many again for whatever else runs."""


def dropped() -> re.Pattern[str]:
    """The names that Prometheus is told to leave out."""
    config = YAML(typ="safe").load(ROOT / "deploy/prometheus/prometheus.yml")
    return re.compile(config["scrape_configs"][0]["metric_relabel_configs"][0]["regex"])


def names(text: str) -> list[str]:
    """The metric's name of each series."""
    return [re.split(r"[{ ]", line, maxsplit=1)[0] for line in text.splitlines() if line[:1] not in ("#", "")]


def mesh(env: dict[str, str], *arguments: str) -> None:
    """Run a verb to its end."""
    argv = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def measured(size: int, folder: Path) -> dict[str, int]:
    """Series of the sidecar of a service that calls `size` others."""
    called = [f"called-{number}" for number in range(size)]
    entries = [{"name": name, "command": APP, "health": "/"} for name in ("caller", *called)]
    file = folder / "application.yaml"
    with file.open("w") as out:
        YAML(typ="safe").dump(application(entries, free_port()), out)
    env = settings(folder / "state")
    mesh(env, "up", "-f", str(file), "--detach", "--timeout", "600")
    try:
        status: dict[str, Any] = json.loads((folder / "state/agent.json").read_text())
        ports = next(workload["ports"] for workload in status["workloads"] if workload["name"] == "caller-1")
        by = urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{ports['outbound']}"})
        for name in called:
            urllib.request.build_opener(by).open(f"http://{name}/", timeout=30).read()
        opener_director = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        value = opener_director.open(
            f"http://127.0.0.1:{ports['ready']}/stats/prometheus?usedonly", timeout=30
        )
        texts = names(value.read().decode())
    finally:
        mesh(env, "down")
    left_out = dropped()
    return {"told": len(texts), "kept": sum(not left_out.fullmatch(name) for name in texts)}


def main() -> None:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(prog="python -m bench.series", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    if int(INOTIFY.read_text()) < INSTANCES:
        print(f"left out: it takes `sysctl -w fs.inotify.max_user_instances={INSTANCES}`, as root")
        if options.json:
            options.json.write_text("{}\n")
        return
    figures: dict[str, dict[str, int]] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            figures[str(size)] = measured(size, Path(folder))
        figure = figures[str(size)]
        print(
            f"{size} services called: {figure['told']} series of its Envoy, {figure['kept']} kept by Prometheus"
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
