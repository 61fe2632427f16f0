"""`mesh schema` and `mesh validate`: what editors, hooks and pipelines use, without a control plane."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import jsonschema
from ruamel.yaml import YAML

from tests.cli.conftest import RunMesh
from tests.cli.samples import retry, timeout


async def test_schema_and_validate_need_no_control_plane(run: RunMesh, tmp_path: Path) -> None:
    schema = await run("schema", "timeouts")
    assert json.loads(schema.out)["properties"]["kind"]["const"] == "Timeout"
    explained = await run("schema", "retry", "--explain")
    assert "perTryTimeout" in explained.out
    assert "Example" in explained.out
    assert "HTTPRoute" in (await run("schema")).out.splitlines()
    unknown = await run("schema", "retri")
    assert (unknown.code, "Retry" in unknown.err) == (2, True)
    field = (await run("schema", "httproutes.spec.rules.timeouts")).out.splitlines()
    assert field[0] == "HTTPRoute.spec.rules[].timeouts  (mapping)"
    assert "  backendRequest  (duration)" in field
    unknown = await run("schema", "retry.spec.backof")
    assert (unknown.code, "Retry.spec.backof: unknown field: did you mean backoff?" in unknown.err) == (
        2,
        True,
    )
    (tmp_path / "r.yaml").write_text(retry())
    for arguments in (("r.yaml", "-"), ("-f", "r.yaml", "-f", "-"), ("r.yaml", "-f", "-")):
        valid = await run("validate", *arguments, text=timeout())
        assert (valid.code, valid.out) == (0, "2 documents valid\n")
    assert (await run("validate", "r.yaml")).out == "1 document valid\n"


async def test_schema_of_all_kinds_judges_a_document_by_its_kind(run: RunMesh) -> None:
    schema = json.loads((await run("schema", "--all")).out)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    for kind in (await run("schema")).out.split():
        text = (await run("schema", kind, "--explain")).out
        document = YAML(typ="safe").load(textwrap.dedent(text.partition("Example:\n")[2]))
        assert list(validator.iter_errors(document)) == [], kind
        assert not validator.is_valid({**document, "extra": 1}), kind
    assert not validator.is_valid({**document, "kind": "Retri"})
    assert (await run("schema", "Retry", "--all")).code == 2


async def test_problems_are_printed_for_programs_and_for_workflows(run: RunMesh, tmp_path: Path) -> None:
    (tmp_path / "a,b.yaml").write_text(retry().replace("attempts: 2", "attempts: 100%"))
    as_json = await run("validate", "a,b.yaml", "-o", "json")
    report = json.loads(as_json.out)
    assert (as_json.code, report["valid"], report["documents"]) == (2, False, 0)
    (problem,) = report["problems"]
    assert (problem["file"], problem["line"]) == ("a,b.yaml", 9)
    assert "100%" in problem["message"]
    for_github = await run("validate", "a,b.yaml", "-o", "github")
    start = f"::error file=a%2Cb.yaml,line=9,col={problem['column']}::"
    assert for_github.code == 2
    assert for_github.out.startswith(start)
    assert "100%25" in for_github.out
    (tmp_path / "a,b.yaml").write_text(retry())
    assert json.loads((await run("validate", "a,b.yaml", "-o", "json")).out) == {
        "valid": True,
        "documents": 1,
        "problems": [],
    }
