"""What `mesh up` says about an instance that does not become ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwright.cli.errors import CommandError
from meshwright.cli.readiness import Readiness
from meshwright.sidecar.files import log_path
from meshwright.sidecar.status import AgentStatus, WorkloadStatus

EARLIER, NOW = "no database: of an earlier instance with this name", "no database: today"


async def failure(state: Path, error: str, *, rotated: bool = False) -> str:
    """What is said of `back-1`, whose agent says `error`, and whose logs have grown since `begin`."""
    logs = [log_path(state, name) for name in ("back-1", "back-1.proxy")]
    logs[0].parent.mkdir()
    for log in logs:
        log.write_text(f"{EARLIER}\n")
    status = WorkloadStatus(
        name="back-1",
        service="back",
        role="service",
        phase="starting app",
        healthy=False,
        error=error,
        logs=tuple(str(log) for log in logs),
    )
    (state / "agent.json").write_text(AgentStatus(pid=1, workloads=(status,)).model_dump_json())
    readiness = Readiness(state, 0.0, lambda *_: None, {})
    readiness.begin()
    for log in logs:
        log.write_text(f"{log.stem} {NOW}\n" if rotated else f"{EARLIER}\n{log.stem} {NOW}\n")
    with pytest.raises(CommandError) as raised:
        await readiness.until_healthy(["back-1"])
    return str(raised.value)


@pytest.mark.parametrize("rotated", [False, True])
async def test_a_late_app_is_shown_with_its_log_of_this_start_alone(tmp_path: Path, rotated: bool) -> None:
    text = await failure(tmp_path, "app: nothing listens", rotated=rotated)
    assert text.startswith("back-1: not ready after 0 s: app: nothing listens\n")
    assert f"back-1 {NOW}" in text and EARLIER not in text and "back-1.proxy" not in text


async def test_a_late_proxy_is_shown_with_both_logs(tmp_path: Path) -> None:
    text = await failure(tmp_path, "proxy: waiting for its listeners")
    assert f"back-1 {NOW}" in text and f"back-1.proxy {NOW}" in text and EARLIER not in text
