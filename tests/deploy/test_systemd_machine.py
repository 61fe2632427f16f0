"""The systemd units under a real systemd: start, crash, hang, stop and reboot, as docs/machines.md says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

LOAD = f"""#!/bin/sh
while :; do {CALL} >>/run/load; echo >>/run/load; sleep 0.05; done
"""

RETRY = """apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: orders}
spec: {targetRefs: [{kind: Service, name: orders}], attempts: 3}
"""


@contextmanager
def calling(box: Machine) -> Iterator[None]:
    """Front calls orders all the while, and no call fails."""
    box.write("/usr/local/bin/load", LOAD, 0o755)
    box.run("rm -f /run/load && systemd-run --quiet --unit=load /usr/local/bin/load")
    try:
        until(lambda: box.run("cat /run/load || :").count("200") > 2, "calls are made", WITHIN)
        yield
    finally:
        box.run("systemctl stop load")
    codes = box.run("cat /run/load").split()
    assert set(codes) == {"200"}, f"{len(codes)} calls: {sorted(set(codes))}"


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


def test_agent_that_hangs_is_restarted_and_no_call_fails(box: Machine) -> None:
    unit = "meshwright-agent@orders-1"
    agent, before, app = box.main_pid(unit), envoys(box, "orders-1"), box.main_pid("orders")
    with calling(box):
        box.run(f"kill -STOP {agent}")
        until(lambda: box.main_pid(unit) not in (0, agent), "the watchdog ends it", WITHIN)
        box.run(f"systemctl is-active {unit} || systemctl start {unit}")  # returns once it is ready
        assert (envoys(box, "orders-1"), box.main_pid("orders")) == (before, app)
        until(lambda: not silent(box), "its lease is renewed again", WITHIN)
    assert "Watchdog timeout" in box.run(f"journalctl --no-pager --unit {unit}")
    assert "StatusText=running" in box.run(f"systemctl show --property=StatusText {unit}")


def test_control_plane_that_hangs_is_restarted_and_no_call_fails(box: Machine) -> None:
    unit = "meshwright-control-plane"
    control_plane = box.main_pid(unit)
    with calling(box):
        box.run(f"kill -STOP {control_plane}")
        until(lambda: box.main_pid(unit) not in (0, control_plane), "the watchdog ends it", WITHIN)
        until(
            lambda: box.try_run(f"{MESH} status --check").returncode == 0,
            "status has no problem left",
            WITHIN,
        )


def test_mesh_upgrade_replaces_an_agent_and_its_envoy_under_its_unit(box: Machine) -> None:
    """By the commands of docs/upgrade.md: the unit's process stays, and systemd starts nothing again."""
    unit = "meshwright-agent@orders-1"
    upgrade = f"runuser -u meshwright -- env {LIBRARIES} /opt/meshwright/bin/mesh upgrade"
    upgrade += f" --state {STATE}/agents/orders-1"
    restarts = f"systemctl show --property=NRestarts --value {unit}"
    agent, restarted, before = box.main_pid(unit), box.run(restarts), envoys(box, "orders-1")
    with calling(box):
        assert "0 of 2 parts replaced" in box.run(upgrade)
        assert "the installed version went on with it" in box.run(f"{upgrade} --force")
        assert envoys(box, "orders-1") == before
        assert "a new Envoy took over" in box.run(f"{upgrade} --envoys")
        assert len(set(envoys(box, "orders-1")) - set(before)) == 1
    assert (box.main_pid(unit), box.run(restarts)) == (agent, restarted)
    assert box.run(f"systemctl is-active {unit}").strip() == "active"


def test_stop_of_an_agent_ends_its_envoy_and_restart_brings_it_back(box: Machine) -> None:
    assert envoys(box, "orders-1")
    box.run("systemctl stop meshwright-agent@orders-1")
    assert envoys(box, "orders-1") == []
    assert len(envoys(box, "front-1")) == 1
    box.run("systemctl start meshwright-agent@orders-1")
    wait_until_called(box)
    box.run("systemctl restart meshwright-agent@orders-1")
    wait_until_called(box)


@pytest.mark.parametrize("end", [Machine.power_off, Machine.cut_power], ids=["reboot", "power cut"])
def test_after_a_reboot_the_mesh_serves_as_before(box: Machine, end: Callable[[Machine], None]) -> None:
    box.write("/srv/retry.yaml", RETRY)
    box.run(f"{MESH} apply --wait -f /srv/retry.yaml")
    before = mesh_state(box)
    end(box)
    box.boot()
    wait_until_called(box)
    until(lambda: box.try_run(f"{MESH} status --check").returncode == 0, "status has no problem left", WITHIN)
    assert mesh_state(box) == before
    assert [len(envoys(box, instance)) for instance in ("orders-1", "front-1")] == [1, 1]
    box.run(f"{MESH} delete retry/orders --wait")


def mesh_state(box: Machine) -> object:
    """What must outlive a reboot: revision, policies, and who is a member in which state."""
    status = json.loads(box.run(f"{MESH} status -o json"))
    proxies = [(proxy["name"], proxy["state"]) for proxy in status["proxies"]]
    services = [(item["name"], item["instances"], item["healthy"]) for item in status["services"]]
    return status["revision"], proxies, services, box.run(f"{MESH} get -o yaml")


def silent(box: Machine) -> bool:
    """Whether an instance works without its agent."""
    return "nothing supervises" in box.run(f"{MESH} status")
