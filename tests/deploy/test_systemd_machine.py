"""The systemd units under a real systemd: start, crash, stop and restart, as docs/machines.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.systemd_machine import LIBRARIES, STATE, Machine, machine
from tests.envoy.harness import until

pytestmark = pytest.mark.long

WITHIN = 300.0
"""Seconds; on an idle machine each step takes some."""

CONTROL_PLANE = "MESH_BIND=127.0.0.1\nMESH_ADVERTISE=127.0.0.1\nMESH_REDIS_URL=redis://127.0.0.1:6379/0\n"

AGENT = (
    "MESH_PROXY_CREDENTIAL=off\n"
    "AGENT_OPTIONS=--service {name} --port {port} --health / --control-plane 127.0.0.1 --advertise 127.0.0.1 "
    "--outbound-port {out} --inbound-port {inbound} --ready-port {ready}\n"
)

APP = """[Service]
ExecStart=/usr/bin/env python3 -m http.server --bind 127.0.0.1 --directory /usr/share/doc/systemd {port}
[Install]
WantedBy=multi-user.target
"""

MESH = f"runuser -u meshwright -- env {LIBRARIES} MESH_STATE={STATE}/control-plane /opt/meshwright/bin/mesh"
CALL = "curl -sS -m 5 -o /dev/null -w '%{http_code}' -x http://127.0.0.1:15001 http://orders/"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a control plane, and the agents orders-1 and front-1 beside apps of other units."""
    with machine(tmp_path_factory.mktemp("machine")) as box:
        box.write("/etc/meshwright/control-plane.env", CONTROL_PLANE, 0o600)
        box.run("systemctl daemon-reload && systemctl enable --now valkey-server meshwright-control-plane")
        until(lambda: box.try_run(f"{MESH} status").returncode == 0, "the control plane responds", WITHIN)
        for number, name in enumerate(("orders", "front")):
            app, out, inbound, ready = (base + number for base in (8000, 15002, 15006, 15020))
            options = AGENT.format(
                name=name, port=app, out=15001 if name == "front" else out, inbound=inbound, ready=ready
            )
            box.write(f"/etc/systemd/system/{name}.service", APP.format(port=app))
            box.write(f"/etc/meshwright/agents/{name}-1.env", options, 0o600)
            token = f"/etc/meshwright/agents/{name}-1.token"
            box.run(f"umask 077; {MESH} token create --service {name} --ttl 1d --out - > {token}")
            box.run(f"systemctl daemon-reload && systemctl enable --now {name} meshwright-agent@{name}-1")
        wait_until_called(box)
        yield box


def wait_until_called(box: Machine) -> None:
    """Wait until front's sidecar reaches orders."""
    until(lambda: box.try_run(CALL).stdout == "200", "front calls orders", WITHIN)


def envoys(box: Machine, instance: str) -> list[int]:
    """Pids of the Envoys of an agent's unit, inside."""
    unit = f"meshwright-agent@{instance}.service"
    processes = box.run("ps --no-headers -eww -o pid,unit:100,args").splitlines()
    fields = [line.split(None, 3) for line in processes]
    return [int(pid) for pid, of, program, *_ in fields if of == unit and "envoy" in Path(program).name]


def test_crash_of_an_agent_leaves_its_envoy_running_and_the_next_one_takes_it_over(box: Machine) -> None:
    unit = "meshwright-agent@orders-1"
    agent, before = box.main_pid(unit), envoys(box, "orders-1")
    assert len(before) == 1
    box.run(f"kill -9 {agent}")
    until(lambda: box.main_pid(unit) not in (0, agent), "systemd starts it again", WITHIN)
    journal = f"journalctl --no-pager --unit {unit}"
    until(lambda: "went on with the processes" in box.run(journal), "the next agent goes on", WITHIN)
    assert envoys(box, "orders-1") == before
    wait_until_called(box)


def test_crash_of_the_control_plane_interrupts_no_call_and_is_an_event(box: Machine) -> None:
    control_plane = box.main_pid("meshwright-control-plane")
    box.run(f"kill -9 {control_plane}")
    assert box.run(CALL) == "200"
    events = f"{MESH} events --kind outage"
    until(lambda: "was away" in box.try_run(events).stdout, "it is back, and says so", WITHIN)
    wait_until_called(box)


def test_stop_of_an_agent_ends_its_envoy_and_restart_brings_it_back(box: Machine) -> None:
    assert envoys(box, "orders-1")
    box.run("systemctl stop meshwright-agent@orders-1")
    assert envoys(box, "orders-1") == []
    assert len(envoys(box, "front-1")) == 1
    box.run("systemctl start meshwright-agent@orders-1")
    wait_until_called(box)
    box.run("systemctl restart meshwright-agent@orders-1")
    wait_until_called(box)
