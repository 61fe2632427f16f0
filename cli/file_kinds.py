"""The kinds of documents that are files of the command line and no policies: `mesh apply` refuses them."""

from __future__ import annotations

from pathlib import Path

from meshwright.control_plane.policies.registry import KindModules

FILE_KINDS = KindModules(
    {"application": "meshwright.cli.application", "policytest": "meshwright.cli.policy_tests.spec"}
)

_EXAMPLES = {
    "Application": Path(__file__).with_name("application.example.yaml"),
    "PolicyTest": Path(__file__).with_name("policy_tests") / "example.yaml",
}

FILE_KIND_NAMES = tuple(_EXAMPLES)
"""Their names, without loading them."""


def file_kind(word: str) -> str:
    """The kind for a word in any case, singular or plural; empty if it is none of these."""
    return next((kind for kind in _EXAMPLES if word.lower().removesuffix("s") == kind.lower()), "")


def file_example(kind: str) -> str:
    """An example of a kind."""
    return _EXAMPLES[kind].read_text(encoding="utf-8")
