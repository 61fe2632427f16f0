"""The state directory of a running mesh is removed: calls go on, commands say so, a signal stops all."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import psutil

from tests.envoy.harness import running_mesh, service, until
from tests.envoy.steady_load import load


def test_calls_go_on_and_a_signal_stops_every_process(tmp_path: Path) -> None:
    with running_mesh(tmp_path, [service("front"), service("back")]) as mesh:
        assert mesh.get("front-1", "http://back/echo").status_code == 200
        names = ("store", "control-plane", "agent", "front-1", "back-1", "front-1.proxy", "back-1.proxy")
        processes = [psutil.Process(mesh.pid(name)) for name in names]
        url = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
        with load(tmp_path, url, "Host: back") as calls:
            shutil.rmtree(mesh.state)
            done = mesh.run("status", check=False)
            assert done.returncode == 3, done.stderr
            assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr, done.stderr
        assert calls.requests > 10 and calls.failed == 0, calls.report
        mesh.process.send_signal(signal.SIGTERM)
        mesh.process.wait(120)
        until(lambda: not any(map(psutil.Process.is_running, processes)), "every process has ended")
