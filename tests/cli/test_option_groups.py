"""Options declared once for several commands."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from meshwright.cli.join.option_groups import option_group
from meshwright.cli.join.options import AppOptions
from meshwright.cli.join.workload import build_workload
from meshwright.sidecar.config import Workload


def parsed(*arguments: str) -> Workload:
    """The workload of a command with these options."""
    workloads: list[Workload] = []

    @option_group("app", AppOptions)
    def command(name: str, *, app: AppOptions) -> None:
        workloads.append(build_workload(service=name, **app.fields()))

    program = typer.Typer()
    program.command()(command)
    result = CliRunner().invoke(program, ["orders", *arguments])
    assert result.exit_code == 0, result.output
    return workloads[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {"path": None, "interval": 10, "timeout": 5, "unhealthy_after": 3, "startup": 30}),
        (("--health", "/up", "--health-interval", "500ms"), {"path": "/up", "interval": 0.5}),
        (("--health-timeout", "20s", "--unhealthy-after", "7"), {"timeout": 20, "unhealthy_after": 7}),
        (("--healthy-after", "1", "--startup", "5m"), {"healthy_after": 1, "startup": 300}),
    ],
)
def test_health_options_are_those_of_the_workload(
    arguments: tuple[str, ...], expected: dict[str, Any]
) -> None:
    assert parsed(*arguments).health.model_dump().items() >= expected.items()


def test_connect_timeout_and_concurrency_are_options() -> None:
    workload = parsed("--connect-timeout", "3s", "--concurrency", "4")
    assert (workload.connect_timeout, workload.concurrency) == (3, 4)
