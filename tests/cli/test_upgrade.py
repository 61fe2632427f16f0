"""`mesh upgrade`: what is replaced, in which order, and that requests and streams go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meshwright.cli.upgrade.steps import Proxy, hot_restarts, proxy_steps, reasons, supervisor_steps
from tests.cli.streams import ChunkedStream
from tests.cli.test_up import (
    ROUTE,
    application_file,
    assert_all_stopped,
    mesh_command,
    recorded,
    stopped_afterwards,
)
from tests.envoy.harness import service, settings, until
from tests.envoy.steady_load import load
from tests.fakes.ports import free_port

PROXIES = (
    Proxy("ingress", "ingress", "gateway", "1.39.0", "protocols differ"),
    Proxy("back-1", "back", "service", "1.40.0", "protocols differ"),
    Proxy("front-1", "front", "service", "1.39.0", "protocols differ"),
)

STREAM_SECONDS = 60


def test_control_plane_and_agent_are_replaced_if_one_of_them_differs() -> None:
    def actions(running: dict[str, str], *, force: bool = False) -> list[str]:
        return [step.action for step in supervisor_steps(running, "0.2.0", force=force)]

    assert actions({"control plane": "0.2.0", "agent": "0.2.0"}) == ["unchanged", "unchanged"]
    assert actions({"control plane": "0.2.0", "agent": ""}) == ["replace", "replace"]
    assert actions({"control plane": "0.2.0", "agent": "0.2.0"}, force=True) == ["replace", "replace"]


def test_envoys_that_can_hand_over_do_services_first() -> None:
    steps = proxy_steps(
        [replace(proxy, obstacle="") for proxy in PROXIES], "1.40.0", force=True, gateways=False
    )
    assert {step.action for step in steps} == {"hot restart"}
    assert [proxy.name for proxy in hot_restarts(steps, PROXIES)] == ["back-1", "front-1", "ingress"]
    assert reasons(steps, PROXIES) == {}


def test_envoys_that_cannot_hand_over_are_replaced_with_their_apps_before_those_of_gateways() -> None:
    steps = proxy_steps(PROXIES, "1.40.0", force=False, gateways=False)
    assert steps[-1].note.startswith("protocols differ: --gateways")
    assert hot_restarts(steps, PROXIES) == []
    assert [(step.part, step.action) for step in steps] == [
        ("Envoy of back-1", "unchanged"), ("Envoy of front-1", "replace with its app"),
        ("Envoy of ingress", "leave"),
    ]  # fmt: skip
    assert reasons(steps, PROXIES) == {"front": "Envoy 1.39.0 → 1.40.0"}
    everything = proxy_steps(PROXIES, "1.40.0", force=True, gateways=True)
    assert [step.action for step in everything] == ["replace with its app"] * 2 + ["interrupt"]
    assert set(reasons(everything, PROXIES)) == {"back", "front", "ingress"}


def test_only_the_mesh_of_a_mesh_up_is_upgraded(tmp_path: Path) -> None:
    done = mesh_command("upgrade", env=settings(tmp_path / "state"))
    assert (done.returncode, "no `mesh up` runs here" in done.stderr) == (2, True), done.stderr


@pytest.mark.long
def test_an_upgrade_loses_no_request_and_no_stream(tmp_path: Path) -> None:
    """Control plane and agent under load and a stream of a minute, then all Envoys under load."""
    state, port = tmp_path / "state", free_port()
    env = settings(state)
    (tmp_path / "route.yaml").write_text(ROUTE)
    file = application_file(
        tmp_path, [service("front", replicas=2), service("back")], port, policies=["route.yaml"]
    )

    def mesh(*arguments: str) -> str:
        done = mesh_command(*arguments, env=elsewhere, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # The settings are those of the running mesh, not those of the shell of `mesh upgrade`.
    elsewhere = {name: text for name, text in env.items() if not name.startswith("MESH_")}
    elsewhere["MESH_STATE"] = str(state)
    with stopped_afterwards(env):
        started = mesh_command("up", "-f", str(file), "--detach", env=env)
        assert started.returncode == 0, started.stdout + started.stderr
        before = recorded(state)
        settled = {name for name in before if name.endswith(".proxy") or "-" in name} - {"control-plane"}
        # An edited file is not what runs: an upgrade changes versions, nothing else.
        application_file(tmp_path, [service("other")], port)
        assert "dry run" in mesh("upgrade", "--force", "--dry-run")
        assert recorded(state) == before
        assert "0 of 6 parts replaced" in mesh("upgrade")
        with load(tmp_path, f"http://127.0.0.1:{port}/echo") as requests:
            stream = ChunkedStream(port, STREAM_SECONDS)
            stream.start()
            until(lambda: stream.lines or stream.outcome, "the stream began")
            assert "2 of 6 parts replaced" in mesh("upgrade", "--force")
            after = recorded(state)
            assert {name: after[name] for name in settled} == {name: before[name] for name in settled}
            assert not {"store", "control-plane", "agent"} & {
                name for name, pid in after.items() if before[name] == pid
            }
            assert stream.outcome in ("", "end"), "it may have ended if the machine is slow"
            stream.join(STREAM_SECONDS * 4)
            assert stream.outcome == "end", (stream.outcome, stream.lines)
            assert "4 of 6 parts replaced" in mesh("upgrade", "--envoys")
            replaced = recorded(state)
            assert replaced["ingress.proxy.previous"] == before["ingress.proxy"], "it finishes its requests"
            names = {"ingress.proxy", "front-1.proxy", "front-2.proxy", "back-1.proxy"}
            assert not {before[name] for name in names} & {
                pid for name, pid in replaced.items() if name != "ingress.proxy.previous"
            }
        assert requests.requests > 1000 and requests.failed == 0, requests.report
        pids = recorded(state)
        mesh("down")
        assert_all_stopped(state, list(pids.values()))
