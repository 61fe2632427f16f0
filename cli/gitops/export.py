"""`mesh export`: a mesh's policies as a folder, which `mesh apply --prune` turns into the same mesh."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.errors import CommandError, warn
from meshwright.cli.export import DirectoryArgument, check_absent, write_files
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import echo, print_data, sanitize
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import InputError

MAX_STEM = 200
"""Characters of a file's name without its suffix: with it a file system takes 255 bytes (NAME_MAX)."""

Document = Mapping[str, Any]


def export(
    directory: DirectoryArgument,
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite existing files, and remove those of policies that are gone."),
    ] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Write every policy to a file of its own, such as retry-inventory.yaml.

    Names and contents depend on the policies alone, so that a repository shows what has changed. Secrets are
    not written: they read <redacted>, which keeps what the mesh has when the file is applied.

    Applying the folder with --prune and the printed revision makes these the only policies.

    \b
    Example:
      mesh export policies/
      mesh apply -f policies/ --prune --expect-revision 12
    """
    listed = call_api(calls.policies(), state)
    documents = listed["documents"]
    contents = exported(directory, documents)
    stale = stale_files(directory, contents)
    if not force:
        check_absent(contents)
        if stale:
            lines = [f"{path}: the mesh has no such policy: use --force to remove it" for path in stale]
            raise InputError("\n".join(lines))
    write_files(contents)
    for path in stale:
        _remove(path)
    _warn_of_secrets(documents)
    if output is not Output.table:
        files, removed = map(str, contents), map(str, stale)
        print_data({"revision": listed["revision"], "files": list(files), "removed": list(removed)}, output)
        return
    echo(f"revision {listed['revision']}")
    for verb, paths in (("wrote", contents), ("removed", stale)):
        for path in paths:
            echo(sanitize(f"{verb} {path}"))


def exported(directory: Path, documents: list[Document]) -> dict[Path, bytes]:
    """What to write, sorted by path."""
    from meshwright.control_plane.api.yaml.dump import dump_yaml
    from meshwright.control_plane.policies.rollout.progress import without_progress

    contents = {
        directory / file_name(each): dump_yaml([without_progress(each)]).encode() for each in documents
    }
    return dict(sorted(contents.items()))


def file_name(document: Document) -> str:
    """The name of a document's file: kind and name, of which long ones end in a hash."""
    stem = f"{document['kind'].lower()}-{document['metadata']['name']}"
    if len(stem) > MAX_STEM:
        stem = f"{stem[:MAX_STEM]}-{hashlib.sha256(stem.encode()).hexdigest()[:12]}"
    return f"{stem}.yaml"


def stale_files(directory: Path, contents: Mapping[Path, bytes]) -> list[Path]:
    """Files of earlier exports whose policies the mesh does not have any more.

    Such a file has the name that its only document gets here, so that nothing else is ever removed.
    """
    from meshwright.cli.documents import SUFFIXES
    from meshwright.control_plane.policies.loader import load_files

    if not directory.is_dir():
        return []
    stale = []
    for path in sorted(directory.iterdir()):
        if path in contents or path.suffix not in SUFFIXES or not path.is_file():
            continue
        loaded = load_files([(str(path), path.read_bytes())])
        names = [file_name(item.raw) for item in loaded.documents]
        if not loaded.problems and names == [path.name]:
            stale.append(path)
    return stale


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CommandError(errors.FAILED, f"{path}: cannot be removed: {reason}") from None


def _warn_of_secrets(documents: list[Document]) -> None:
    from meshwright.control_plane.policies.secret_source import REDACTED

    for document in documents:
        if {"inline": REDACTED} in document["spec"].values():
            ref = f"{document['kind']}/{document['metadata']['name']}"
            warn(f"{ref}: its secret is not written: another mesh needs it by `file:`")
