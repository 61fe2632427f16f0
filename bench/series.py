"""The number of Prometheus series of a sidecar that calls 6 services, and of one that calls 100.

`python -m bench.series [--json FILE]`

In a mesh of real Envoys the sidecar `caller-1` calls every other service once. Counted are the series on its
ready port, and those that remain after the relabelling in deploy/prometheus/prometheus.yml. A hundred Envoys
on one host need more inotify instances than the 128 that Linux allows a user by default.
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
"""Two for each Envoy, and as many again for other processes."""


def dropped_names() -> re.Pattern[str]:
    """Matches the metric names that Prometheus drops."""
    config = YAML(typ="safe").load(ROOT / "deploy/prometheus/prometheus.yml")
    return re.compile(config["scrape_configs"][0]["metric_relabel_configs"][0]["regex"])


def metric_names(text: str) -> list[str]:
    """The metric name of each series."""
    return [re.split(r"[{ ]", line, maxsplit=1)[0] for line in text.splitlines() if line[:1] not in ("#", "")]


def mesh(env: dict[str, str], *arguments: str) -> None:
    """Run a command to its end."""
    argv = [sys.executable, "-m", "meshwright.cli", *arguments]
    result = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)


def measure(size: int, folder: Path) -> dict[str, int]:
    """Series of the sidecar of a service that calls `size` others."""
    callees = [f"called-{number}" for number in range(size)]
    entries = [{"name": name, "command": APP, "health": "/"} for name in ("caller", *callees)]
    file = folder / "application.yaml"
    with file.open("w") as out:
        YAML(typ="safe").dump(application(entries, free_port()), out)
    env = settings(folder / "state")
    mesh(env, "up", "-f", str(file), "--detach", "--timeout", "600")
    try:
        status: dict[str, Any] = json.loads((folder / "state/agent.json").read_text())
        ports = next(workload["ports"] for workload in status["workloads"] if workload["name"] == "caller-1")
        proxy = urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{ports['outbound']}"})
        for name in callees:
            urllib.request.build_opener(proxy).open(f"http://{name}/", timeout=30).read()
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        response = direct.open(f"http://127.0.0.1:{ports['ready']}/stats/prometheus?usedonly", timeout=30)
        exposed = metric_names(response.read().decode())
    finally:
        mesh(env, "down")
    dropped = dropped_names()
    return {"exposed": len(exposed), "scraped": sum(not dropped.fullmatch(name) for name in exposed)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.series", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if int(INOTIFY.read_text()) < INSTANCES:
        print(f"skipped: requires `sysctl -w fs.inotify.max_user_instances={INSTANCES}`, as root")
        if options.json:
            options.json.write_text("{}\n")
        return
    figures: dict[str, dict[str, int]] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            figures[str(size)] = measure(size, Path(folder))
        figure = figures[str(size)]
        print(f"{size} services called: {figure['exposed']} series exposed, {figure['scraped']} kept")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
