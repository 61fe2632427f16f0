"""The kinds of documents that are files of the command line and no policies: `mesh apply` refuses them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from meshwright.cli.application import Application
from meshwright.cli.policy_tests.spec import PolicyTest
from meshwright.control_plane.policies.base import Policy

FILE_KINDS: Mapping[str, type[Policy]] = {kind.__name__: kind for kind in (Application, PolicyTest)}

_EXAMPLES = {
    "Application": Path(__file__).with_name("application.example.yaml"),
    "PolicyTest": Path(__file__).with_name("policy_tests") / "example.yaml",
}


def file_kind(word: str) -> str:
    """The kind for a word in any case, singular or plural; empty if it is none of these."""
    return next((kind for kind in FILE_KINDS if word.lower().removesuffix("s") == kind.lower()), "")


def file_example(kind: str) -> str:
    """An example of a kind."""
    return _EXAMPLES[kind].read_text(encoding="utf-8")
