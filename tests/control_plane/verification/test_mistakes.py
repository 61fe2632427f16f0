"""Random mistakes made to the example of every kind are refused with a position, or harmless."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.policy_validation import InvalidDocumentError, canonical
from meshwright.control_plane.admin.policy_verdict import check_verdict
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.policies import loader, registry
from tests.control_plane.verification.mistakes import mistaken
from tests.control_plane.verification.test_verifier import Lab

LINE = re.compile(r"policy\.yaml:[1-9]\d*:[1-9]\d*: .{10,}")


@pytest.mark.parametrize(
    ("seed", "count"),
    [(20261202, 200), pytest.param(random.randrange(10**9), 3000, marks=pytest.mark.long)],  # noqa: S311  a new seed each time
    ids=["quick", "long"],
)
async def test_a_mistake_is_refused_with_its_position_or_harmless(
    tmp_path: Path, seed: int, count: int
) -> None:
    rng = random.Random(seed)  # noqa: S311  repeatable
    lab = Lab(tmp_path)
    examples = [
        body for kind in registry.kinds() for body in YAML(typ="safe").load_all(registry.example(kind))
    ]
    outcomes = dict.fromkeys(("invalid", "refused", "harmless"), 0)
    for number in range(count):
        text = dump_yaml([mistaken(rng, examples[number % len(examples)])])
        outcome = await refusal_or_verdict(lab, text)
        assert outcome in outcomes, f"seed {seed}, mistake {number}: {outcome}\n{text}"
        outcomes[outcome] += 1
    assert min(outcomes["invalid"], outcomes["harmless"]) > count / 20, outcomes
    await lab.verifier.stop()


async def refusal_or_verdict(lab: Lab, text: str) -> str:
    """What became of a document: `invalid`, `refused` by Envoy, `harmless`, or what is wrong with that."""
    loaded = loader.load(text.encode(), "policy.yaml")
    if loaded.problems:
        lines = [str(problem) for problem in loaded.problems]
        return "invalid" if all(LINE.fullmatch(line) for line in lines) else "\n".join(lines)
    try:
        documents = [
            RevisionDocument(canonical(item.raw), f"{item.path}:{item.line}") for item in loaded.documents
        ]
    except InvalidDocumentError as error:
        return f"the server says what the loader does not: {error}"
    pid = lab.envoy.pid
    verdict = await lab.verifier.verify([], [dict(document.document) for document in documents])
    if pid is not None and lab.envoy.pid != pid:
        return f"Envoy ended: {verdict}"
    if verdict.unverified:
        return verdict.unverified
    try:
        check_verdict(verdict, (), documents)
    except DocumentsError as error:
        return "refused" if all(problem.line > 0 for problem in error.problems) else str(error)
    return "harmless"
