"""A function in a process of its own: result, errors, limits, and its end when the caller is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from meshwright.control_plane.errors import InputError, LimitExceededError
from meshwright.control_plane.worker.process import (
    MEMORY_BYTES,
    RESULT_BYTES,
    run_in_process,
    stream_from_process,
)
from tests.control_plane.attacks.conftest import until_async as until
from tests.control_plane.worker import functions


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process starts without an environment: tests add the folder of their modules to its path."""
    folder = str(Path(__file__).parents[3])
    create = asyncio.create_subprocess_exec

    async def start(*arguments: str, **options: object) -> asyncio.subprocess.Process:
        assert options["env"] == {}
        return await create(*arguments, **{**options, "env": {"PYTHONPATH": folder}})  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)


async def test_result_and_error_of_the_function_reach_the_caller() -> None:
    assert await run_in_process(functions.total, 1, 2, 3) == 6
    with pytest.raises(InputError, match="this is refused"):
        await run_in_process(functions.refuse)
    with pytest.raises(RuntimeError, match="status 1"):
        await run_in_process(functions.crash)


async def test_no_setting_and_no_secret_of_the_environment_reaches_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MESH_REDIS_URL", "redis://:secret@host/0")
    assert "MESH_REDIS_URL" not in await run_in_process(functions.environment)


async def test_results_of_a_generator_come_while_it_runs_and_may_be_large_together(tmp_path: Path) -> None:
    file, number, size = tmp_path / "yielded", 24, RESULT_BYTES // 8
    received: list[int] = []
    async with aclosing(stream_from_process(functions.count, str(file), number, size)) as results:
        async for each, data in results:
            assert len(data) == size
            if not received:
                assert int(file.read_text()) < number - 1, "it waits for who reads"
            received.append(each)
    assert received == list(range(number))


async def test_error_of_a_generator_comes_after_its_results() -> None:
    received = []
    with pytest.raises(InputError, match="this is refused"):
        async for each in stream_from_process(functions.count_and_refuse, 3):
            received.append(each)
    assert received == [0, 1, 2]


async def test_process_of_a_generator_ends_with_its_reader(tmp_path: Path) -> None:
    file = tmp_path / "yielded"
    before = set(psutil.Process().children())
    async with aclosing(stream_from_process(functions.count, str(file), 10**6, 1 << 20)) as results:
        assert (await anext(results))[0] == 0
        (child,) = set(psutil.Process().children()) - before
    await ended(child.pid)


@pytest.mark.parametrize("function", [functions.spin, functions.sleep])
async def test_process_ends_at_its_deadline(function: Callable[[str], None], tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(LimitExceededError, match="longer than"):
        await run_in_process(function, str(file), seconds=3.0)
    await ended(int(file.read_text()))


async def test_process_ends_with_its_cancelled_caller(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    task = asyncio.create_task(run_in_process(functions.spin, str(file)))
    await until(lambda: file.exists() and file.read_text(), "the function runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended(int(file.read_text()))


async def test_memory_and_the_size_of_the_result_are_bounded() -> None:
    with pytest.raises(LimitExceededError, match="memory"):
        await run_in_process(functions.allocate, MEMORY_BYTES)
    with pytest.raises(LimitExceededError, match="larger than 16 MiB"):
        await run_in_process(functions.large, RESULT_BYTES + 1)


async def ended(pid: int) -> None:
    """Wait until there is no such process."""
    await until(lambda: not psutil.pid_exists(pid), "the process has ended")
