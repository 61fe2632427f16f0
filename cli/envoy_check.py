"""What a scratch Envoy says about policies in files, without a mesh: `mesh validate --envoy`."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog

from meshwright.cli.application import Application
from meshwright.cli.documents import InvalidFilesError
from meshwright.cli.errors import CommandError, warn
from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.policy_validation import check_patches
from meshwright.control_plane.admin.policy_verdict import check_verdict
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.errors import SourceProblem
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.api.yaml.source_map import locate
from meshwright.control_plane.core.changed_world import with_documents
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.policies.base import Policy
from meshwright.control_plane.policies.envoypatch.spec import EnvoyPatch
from meshwright.control_plane.policies.loader import DocumentProblem, LoadResult, LocatedPolicy
from meshwright.control_plane.policies.schema import dump
from meshwright.control_plane.policies.secret_source import REDACTED
from meshwright.control_plane.verification.described_world import described_world
from meshwright.control_plane.verification.scratch_envoy import ScratchEnvoy
from meshwright.control_plane.verification.verifier import EnvoyVerdict, Verifier

BUDGET_SECONDS = 300.0
"""For everything at once: nobody waits at a prompt, and 1,000 policies may take a minute."""


def check_with_envoy(loaded: LoadResult) -> None:
    """Raise InvalidFilesError for what Envoy rejects; warn on stderr of what it did not check.

    Services are those of the application files and those that policies name. Raises CommandError without an
    Envoy.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    policies = [item for item in loaded.documents if not isinstance(item.policy, Application)]
    complete = [item for item in policies if not _is_redacted(item)]
    for item in policies:
        if item not in complete:
            warn(f"{item.path}:{item.line}: not shown to Envoy: its secret is redacted")
    served = translate(_described(loaded, [item.policy for item in complete]))
    documents = [RevisionDocument(dump(item.policy), f"{item.path}:{item.line}") for item in complete]
    try:
        _check_patches(served, documents)
        check_verdict(asyncio.run(_verdict(served, documents)), (), documents)
    except DocumentsError as error:
        raise InvalidFilesError(_located(error, complete)) from None


def _described(loaded: LoadResult, policies: Sequence[Policy]) -> World:
    """The services and gateways of the application files, and those that policies name."""
    specs = [item.policy.spec for item in loaded.documents if isinstance(item.policy, Application)]
    ports = {
        entry.name: tuple(
            Port(name=port.name, protocol=port.protocol, number=port.number or port.port)
            for port in entry.ports
        )
        for spec in specs
        for entry in spec.services
    }
    gateways = {gateway.name for spec in specs for gateway in spec.gateways}
    return described_world(ports, gateways, policies)


def _check_patches(served: Translation, documents: Sequence[RevisionDocument]) -> None:
    """Raise DocumentsError for patches that do not fit, as an apply does; warn of those of nothing yet."""
    if not any(document.key[0] == EnvoyPatch.__name__ for document in documents):
        return
    world = with_documents(served.world, (document.document for document in documents))
    misfits = translate(world, served).snapshot.misfits
    check_patches(documents, [misfit for misfit in misfits if not misfit.is_missing])
    for misfit in misfits:
        if misfit.is_missing:
            warn(f"warning: {misfit}")


async def _verdict(served: Translation, documents: Sequence[RevisionDocument]) -> EnvoyVerdict:
    """The verdict of an Envoy of its own; raises CommandError if there is none."""
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mesh-validate-") as folder:
        verifier = Verifier(lambda: served, ScratchEnvoy(Path(folder)), failures.append, BUDGET_SECONDS)
        try:
            verdict = await verifier.verify((), [document.document for document in documents])
        finally:
            await verifier.stop()
    if verdict.unverified and failures and failures[-1]:
        raise CommandError(errors.FAILED, verdict.unverified)
    if verdict.unverified:
        warn(f"warning: {verdict.unverified}")
    return verdict


def _is_redacted(item: LocatedPolicy) -> bool:
    return {"inline": REDACTED} in item.raw["spec"].values()


def _located(error: DocumentsError, policies: Sequence[LocatedPolicy]) -> tuple[DocumentProblem, ...]:
    """The problems at the fields that they name."""
    problems = []
    for each in error.problems:
        nodes = (item.node for item in policies if item.path == each.path)
        located = locate(SourceProblem(each.path, each.line, each.column, each.message), nodes)
        problems.append(DocumentProblem(located.path, located.line, located.column, located.message))
    return tuple(problems)
