"""The agent's configuration file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.sidecar.config import AgentConfig, Workload, load_config
from meshwright.sidecar.health_settings import HealthSettings


def document(**changes: Any) -> dict[str, Any]:
    workload = {
        "name": "orders-1",
        "service": "orders",
        "token_file": "tokens/orders",
        "ports": [{"name": "http", "protocol": "http", "number": 80}],
        "command": ["python", "-m", "orders"],
    }
    addresses = {"admin": "http://a:1", "xds": "a:2", "enrolment": "https://a:3", "ca_sha256": "00"}
    return {
        "addresses": addresses,
        "state": ".mesh",
        "envoy": "/usr/bin/envoy",
        "workloads": [workload | changes],
    }


def test_load_config_fills_in_defaults(tmp_path: Path) -> None:
    file = tmp_path / "agent-config.json"
    file.write_text(json.dumps(document()))
    config = load_config(file)
    assert config.bind == "127.0.0.1"
    workload = config.workloads[0]
    assert (workload.role, workload.stop_grace, workload.health) == (
        "service",
        10.0,
        HealthSettings(),
    )
    assert workload.ports[0].service_port.number == 80


def test_config_survives_a_round_trip_through_json() -> None:
    config = AgentConfig.model_validate(document(labels={"version": "v1"}, health="/health/ready"))
    assert AgentConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"comand": []}, "comand"),
        ({"name": "Orders 1"}, "name"),
        ({"ports": [{"name": "a"}, {"name": "a"}]}, "two ports have the same name"),
        ({"role": "gateway"}, "a gateway has no app"),
        ({"command": []}, "command is empty"),
        ({"health": "health"}, "health"),
        ({"outbound_port": 70000}, "outbound_port"),
        ({"gateway_ports": {"http": -1}}, "gateway_ports"),
    ],
)
def test_invalid_workload_is_rejected_with_its_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AgentConfig.model_validate(document(**changes))


def test_two_workloads_with_one_name_are_rejected() -> None:
    duplicated = document()
    duplicated["workloads"] *= 2
    with pytest.raises(ValidationError, match="two workloads are named orders-1"):
        AgentConfig.model_validate(duplicated)


def test_gateway_needs_no_command() -> None:
    gateway = Workload.model_validate(
        {
            "name": "ingress-1",
            "role": "gateway",
            "service": "ingress",
            "token_file": "t",
            "gateway_ports": {"http": 8080},
        }
    )
    assert gateway.command is None


def test_health_is_a_path_or_settings() -> None:
    def health(value: object) -> HealthSettings:
        fields = {"name": "a", "service": "a", "token_file": "t", "health": value}
        return Workload.model_validate(fields).health

    assert health("/up") == HealthSettings(path="/up")
    assert health(None) == HealthSettings()
    assert health({"path": "/up", "interval": 3}) == HealthSettings(path="/up", interval=3)


@pytest.mark.parametrize(
    ("role", "concurrency", "threads"),
    [("service", 0, 1), ("gateway", 0, 0), ("service", 3, 3), ("gateway", 2, 2)],
)
def test_a_gateway_uses_all_cores_and_a_sidecar_one(role: str, concurrency: int, threads: int) -> None:
    fields = {"name": "a", "service": "a", "token_file": "t", "role": role, "concurrency": concurrency}
    assert Workload.model_validate(fields).worker_threads == threads
