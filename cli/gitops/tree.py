"""Policy files of one version, with who wrote it; and their documents, marked as those of one sync. Pure."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshwright.cli.file_kinds import FILE_KINDS
from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.api.sync_marks import ENDED, LABEL, origin, synced_version, without_label
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.loader import LoadResult, load_files
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.policies.schema import dump

VERSION_LENGTH = 12
"""Characters of a commit or a content's hash: enough to find it."""

SUFFIXES = (".yaml", ".yml", ".json")

MAX_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class Tree:
    """Policy files by their paths in the source, such as `retry.yaml`.

    `version` is a commit or a hash of the contents. `read_other` returns the content of another file of the
    same version, by its path; it raises FileNotFoundError.
    """

    files: Mapping[str, bytes]
    version: str
    author: str
    subject: str
    read_other: Callable[[str], bytes]

    def message(self, name: str) -> str:
        """The message of a revision that this version makes."""
        return f"{self.subject[:MAX_SUBJECT]} {origin(name, self.version)}"


def is_policy_file(path: str) -> bool:
    """Whether a path is that of a file to read: YAML or JSON, in no hidden folder."""
    return path.endswith(SUFFIXES) and not any(part.startswith(".") for part in path.split("/"))


def content_version(files: Mapping[str, bytes]) -> str:
    """A version for files without a commit."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:VERSION_LENGTH]


def last_version(history: Iterable[Mapping[str, Any]], name: str) -> str:
    """The version of which a sync made its last revision, by the history's messages; empty if unknown."""
    versions = (synced_version(str(entry["message"]), name) for entry in history)
    return next(filter(None, versions), "")


def was_withdrawn(history: Iterable[Mapping[str, Any]], name: str, version: str) -> bool:
    """Whether the last revision that a sync made of a version did harm, so that the mesh has withdrawn it."""
    made = (entry for entry in history if synced_version(str(entry["message"]), name) == version)
    return bool(next(made, {}).get("withdrawn"))


def last_made(history: Iterable[Mapping[str, Any]], name: str) -> int:
    """The last revision in force that a sync made; 0 if there is none, or the sync has ended since."""
    for entry in history:
        version = synced_version(str(entry["message"]), name)
        if version and not entry.get("withdrawn"):
            return int(entry["revision"]) if version != ENDED else 0
    return 0


def lost_policies(
    name: str, synced: Iterable[Mapping[str, Any]], current: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Policies of a sync's last revision, `synced`, that the mesh has while none has its label any more."""
    return without_label(name, _by_ref(synced), _by_ref(current))


def _by_ref(documents: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}


def load_tree(tree: Tree) -> LoadResult:
    """The policies in a tree and their problems, at `path@version:line:column`.

    Application and policy test files are read and left out. Files that policies name have to be in the tree.
    """

    def read_file(document: str, name: str, limit: int) -> str:
        folder = posixpath.dirname(document.rpartition("@")[0])
        path = posixpath.normpath(posixpath.join(folder, name))
        if path.startswith(("../", "/")):
            raise ValueError(f"{name}: is outside of what is synced")
        try:
            content = tree.read_other(path)
        except FileNotFoundError:
            raise ValueError(f"{path}: no such file in version {tree.version}") from None
        if len(content) > limit:
            raise ValueError(f"{path}: larger than {limit // 1024} KiB")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not text in UTF-8") from None

    named = [(f"{path}@{tree.version}", content) for path, content in sorted(tree.files.items())]
    loaded = load_files(named, kinds() | FILE_KINDS, read_file=read_file)
    policies = tuple(item for item in loaded.documents if item.policy.kind not in FILE_KINDS)
    if not policies and not loaded.problems:
        raise InputError(f"version {tree.version} has no policies: to delete all, use `mesh delete`")
    return replace(loaded, documents=policies)


def labelled(loaded: LoadResult, name: str) -> list[SourcedDocument]:
    """The documents as the API takes them, with the label of a sync."""
    documents = []
    for item in loaded.documents:
        document = dump(item.policy)
        metadata = document["metadata"]
        labels = {**metadata.get("labels", {}), LABEL: name}
        documents.append(
            SourcedDocument(
                {**document, "metadata": {**metadata, "labels": labels}}, f"{item.path}:{item.line}"
            )
        )
    return documents
