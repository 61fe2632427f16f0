"""`mesh run` without a port: the process calls other services, and gets none of its service's requests."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

from tests.cli.joining import command, healthy_instances
from tests.envoy.harness import ROOT, running_mesh, service, until


def test_processes_without_a_port_beside_an_instance_fail_none_of_its_requests(tmp_path: Path) -> None:
    with (
        running_mesh(tmp_path, [service("front"), service("back")]) as mesh,
        contextlib.ExitStack() as running,
    ):
        argv = command("run", "--service", "back", "--state", str(mesh.state), "--", "sleep", "1000")
        for _ in range(4):
            process = running.enter_context(subprocess.Popen(argv, env=mesh.environment, cwd=ROOT))
            running.callback(process.send_signal, signal.SIGINT)
        until(lambda: healthy_instances(mesh, "back") == 5, "all are there")
        answers = [mesh.get("front-1", "http://back/echo") for _ in range(100)]
        assert {answer.status_code for answer in answers} == {200}
        shown = mesh.run("proxy", "front-1", "endpoints").stdout
        assert [line.split()[0] for line in shown.splitlines()].count("back") == 1, shown
