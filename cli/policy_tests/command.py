"""`mesh test`: run policy tests against real Envoys, without a mesh."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.documents import InvalidFilesError, located, read_documents
from meshwright.cli.errors import INTERRUPTED, CommandError, warn
from meshwright.cli.foreground import silence_supervisor, stop_event
from meshwright.cli.options import Output, OutputOption
from meshwright.cli.output import print_data
from meshwright.cli.policy_tests import report
from meshwright.cli.policy_tests.mesh_plan import MeshPlan, plan_mesh
from meshwright.cli.policy_tests.runner import CaseResult, run_cases
from meshwright.cli.policy_tests.scratch_mesh import scratch_mesh
from meshwright.cli.policy_tests.spec import PolicyCase, PolicyTest
from meshwright.cli.policy_tests.stubs import StubServices
from meshwright.cli.policy_tests.tokens import CaseTokens
from meshwright.cli.reconcile.options import ReadyTimeoutOption
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.config import read_settings
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.loader import DocumentProblem, LoadResult, LocatedPolicy
from meshwright.control_plane.policies.schema import dump
from meshwright.control_plane.policies.validation_messages import suggestion


def test(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file with a PolicyTest.")],
    *,
    policies: Annotated[
        list[str],
        typer.Option(
            "--file", "-f", metavar="PATH", help="Policies to test, in place of those of FILE. Repeatable."
        ),
    ] = [],  # noqa: B006  typer copies it
    only: Annotated[
        str, typer.Option("--case", metavar="TEXT", help="Run only the cases whose name contains this.")
    ] = "",
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write the results as JUnit's XML.")
    ] = None,
    timeout: ReadyTimeoutOption = 60.0,
    output: OutputOption = Output.table,
) -> None:
    """Test policies: send requests through real Envoys and compare what happens with what is expected.

    No mesh is needed, and none is touched: one is started for the cases in a temporary folder, with the
    policies and the services that they are about, and removed at the end. The services are played by this
    command: they respond as a case says. `mesh schema PolicyTest --explain` describes the file.

    \b
    Exit codes: 0 all cases pass · 1 a case fails · 2 an invalid file

    \b
    Example:
      mesh test tests.yaml
      mesh test tests.yaml -f policies/ --junit results.xml
      mesh test tests.yaml --case retry -o json
    """
    suite = _read_suite(file, policies, only)
    results, ready = asyncio.run(_run(suite, timeout, shows_cases=output is Output.table))
    if junit is not None:
        _write(junit, report.as_junit(results, suite.file))
    if output is not Output.table:
        print_data(report.as_json(results, suite.file), output)
    warn(report.summary(results, ready))
    if not all(result.passed for result in results):
        raise typer.Exit(errors.FAILED)


@dataclass(frozen=True, slots=True)
class _Suite:
    """What to run: the file, its cases by their place in it, the policies, and the mesh that they need."""

    file: LocatedPolicy
    cases: dict[int, PolicyCase]
    policies: LoadResult
    plan: MeshPlan


def _read_suite(file: str, policies: Sequence[str], only: str) -> _Suite:
    """Read and check everything; raises InputError."""
    loaded = read_documents([file], allowed_kinds={PolicyTest.__name__: PolicyTest})
    if len(loaded.documents) != 1:
        second = loaded.documents[1]
        raise InputError(f"{file}:{second.line}:1: second document: a file of tests has exactly one")
    document = loaded.documents[0]
    assert isinstance(document.policy, PolicyTest)  # noqa: S101  the only kind that the loader was given
    spec = document.policy.spec
    paths = tuple(policies) or tuple(str(Path(file).parent / path) for path in spec.policies)
    documents = read_documents(paths) if paths else LoadResult()
    cases = {index: case for index, case in enumerate(spec.cases) if only in case.name}
    if not cases:
        raise InputError(f"--case {only}: no case has this in its name")
    domains = read_settings({"MESH_DOMAINS": os.environ.get("MESH_DOMAINS", "")}).host_domains
    loaded_policies = [item.policy for item in documents.documents]
    plan = plan_mesh(list(cases.values()), spec.services, loaded_policies, domains)
    if problems := tuple(_unknown_callers(document, cases, plan)):
        raise InvalidFilesError(problems)
    return _Suite(document, cases, documents, plan)


def _unknown_callers(
    document: LocatedPolicy, cases: Mapping[int, PolicyCase], plan: MeshPlan
) -> list[DocumentProblem]:
    """Callers that have no instance, such as those declared with `replicas: 0`."""
    return [
        document.problem(
            f"{case.from_.service}: no instance that could call: "
            + suggestion(case.from_.name, plan.services, "give it one in services"),
            *("spec", "cases", index, "from"),
        )
        for index, case in cases.items()
        if case.from_.service and not plan.has_instance(case.from_.service)
    ]


async def _run(suite: _Suite, seconds: float, *, shows_cases: bool) -> tuple[list[CaseResult], float]:
    """The results, of all cases unless a signal comes, and how long the mesh took to be ready."""
    silence_supervisor()
    running = asyncio.create_task(_run_all(suite, seconds, shows_cases=shows_cases))
    stopping = asyncio.create_task(stop_event().wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        raise CommandError(INTERRUPTED, "interrupted")
    stopping.cancel()
    return running.result()


async def _run_all(suite: _Suite, seconds: float, *, shows_cases: bool) -> tuple[list[CaseResult], float]:
    services = StubServices(suite.plan)
    tokens = CaseTokens(item.policy for item in suite.policies.documents)
    documents = tuple(
        SourcedDocument(dump(tokens.with_own_key(item.policy)), f"{item.path}:{item.line}")
        for item in suite.policies.documents
    )
    started = time.monotonic()
    results: list[CaseResult] = []
    try:
        ports = await services.start()
        with located(suite.policies):
            async with scratch_mesh(suite.plan, ports, documents, seconds) as mesh:
                ready = time.monotonic() - started
                async for result in run_cases(suite.cases, mesh, services, tokens):
                    results.append(result)
                    if shows_cases:
                        report.print_result(result, suite.file)
    finally:
        services.close()
    return results, ready


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CommandError(errors.FAILED, f"{path}: cannot be written: {reason}") from None
