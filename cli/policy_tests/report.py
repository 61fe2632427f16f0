"""What `mesh test` prints: a line for each case, JSON, and JUnit's XML for CI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from meshwright.cli.output import colorize, echo, flush, sanitize, status_text
from meshwright.cli.policy_tests.runner import CaseResult
from meshwright.control_plane.policies.loader import LocatedPolicy


def print_result(result: CaseResult, file: LocatedPolicy) -> None:
    """A line for a case, and one for everything that does not hold, with its place in the file."""
    milliseconds = f"{result.seconds * 1000:.0f} ms"
    level = "good" if result.passed else "bad"
    echo(colorize(sanitize(f"{status_text(level, result.name)}  ({milliseconds})")))  # type: ignore[arg-type]
    for problem in problems(result, file):
        echo(sanitize(f"    {problem}"))
    flush()


def problems(result: CaseResult, file: LocatedPolicy) -> list[str]:
    """`file:line:column: message` for everything that does not hold."""
    return [
        str(file.problem(failure.message, "spec", "cases", result.index, *failure.path))
        for failure in result.failures
    ]


def summary(results: Sequence[CaseResult], ready: float) -> str:
    """Counts and times in a line."""
    failed = sum(not result.passed for result in results)
    seconds = sum(result.seconds for result in results)
    counts = f"{len(results) - failed} passed, {failed} failed"
    return f"{counts} in {seconds:.1f} s, after {ready:.1f} s for the mesh"


def as_json(results: Sequence[CaseResult], file: LocatedPolicy) -> dict[str, Any]:
    """All results as plain values."""
    items = []
    for result in results:
        line, _ = file.position("spec", "cases", result.index)
        items.append(
            {
                "name": result.name,
                "passed": result.passed,
                "seconds": round(result.seconds, 3),
                "file": file.path,
                "line": line,
                "failures": problems(result, file),
            }
        )
    failed = sum(not result.passed for result in results)
    return {"passed": len(results) - failed, "failed": failed, "items": items}


def as_junit(results: Sequence[CaseResult], file: LocatedPolicy) -> bytes:
    """All results as JUnit's XML, the format that CI systems show."""
    failed = sum(not result.passed for result in results)
    attributes = {
        "name": file.policy.metadata.name,
        "tests": str(len(results)),
        "failures": str(failed),
        "errors": "0",
        "time": f"{sum(result.seconds for result in results):.3f}",
    }
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "classname": file.policy.metadata.name,
                "name": result.name,
                "time": f"{result.seconds:.3f}",
                "file": file.path,
                "line": str(file.position("spec", "cases", result.index)[0]),
            },
        )
        lines = problems(result, file)
        if lines:
            failure = ElementTree.SubElement(case, "failure", {"message": result.failures[0].message})
            failure.text = "\n".join(lines)
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text
