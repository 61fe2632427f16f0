"""`mesh context`: named meshes, and which one commands are about."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.errors import warn
from meshwright.cli.options import Output, OutputOption
from meshwright.cli.output import echo, print_items, print_table
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api.contexts import Contexts, NamedMesh, contexts_file, read_contexts
from meshwright.control_plane.api.mesh_locator import chosen_context, endpoint_of
from meshwright.control_plane.api.private_files import private_folder
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.files import write_private

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

ContextArgument = Annotated[str, typer.Argument(metavar="CONTEXT", help="Name of the context.")]


@app.callback()
def context() -> None:
    """Name meshes, and choose the one that commands are about.

    In order of precedence a command is about the mesh of: --state, --context or MESH_CONTEXT, MESH_API,
    MESH_STATE, ./.mesh if there is one, and the context in use.

    \b
    Example:
      mesh context add prod --api https://mesh.example:15080 --token-file ~/prod.token
      mesh context use prod
      mesh --context staging status
    """


@app.command(cls=MeshCommand)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the context.")],
    api: Annotated[str, typer.Option("--api", metavar="URL", help="The admin API of the mesh.")] = "",
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="With --api: the file with a token of the mesh."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Instead: the state directory of a mesh on this host."),
    ] = None,
) -> None:
    """Add a context, or change it. The file of the token is read when a command needs it.

    \b
    Example:
      mesh context add prod --api https://mesh.example:15080 --token-file ~/prod.token
      mesh context add shop --state ~/shop/.mesh
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{name[:100]!r} is not a name of a context: use letters, digits and . _ -")
    if state is not None and (api or token_file):
        raise InputError("--state and --api exclude each other: a context is one mesh")
    if state is None and not (api and token_file):
        raise InputError("nothing to add: give --api and --token-file, or --state")
    entry = NamedMesh(
        api=api,
        token_file=str(token_file.expanduser().absolute()) if token_file else "",
        state=str(state.expanduser().absolute()) if state else "",
    )
    if not state:
        endpoint_of(entry)  # a mistake is reported now
    contexts = read_contexts(os.environ)
    _write(replace(contexts, contexts={**contexts.contexts, name: entry}))
    echo(f"context {name} {'changed' if name in contexts.contexts else 'added'}")


@app.command(cls=MeshCommand)
def use(name: ContextArgument) -> None:
    """Choose the context for commands that nothing else tells about which mesh they are.

    \b
    Example:
      mesh context use prod
    """
    contexts = read_contexts(os.environ)
    selected = contexts.get(name)
    _write(replace(contexts, current=name))
    echo(f"context {name} is in use")
    if chosen_context(os.environ) != selected:
        reason = next(
            (each for each in ("MESH_CONTEXT", "MESH_API", "MESH_STATE") if os.environ.get(each)), ""
        )
        warn(f"warning: commands here are about another mesh: {reason or './.mesh'} comes first")


@app.command(name="list", cls=MeshCommand)
def list_contexts(output: OutputOption = Output.table) -> None:
    """List the contexts; * is the one in use.

    \b
    Example:
      mesh context list
    """
    contexts = read_contexts(os.environ)
    if output is not Output.table:
        print_items(
            [
                {"name": name, "current": name == contexts.current, **asdict(entry)}
                for name, entry in sorted(contexts.contexts.items())
            ],
            output,
        )
        return
    print_table(
        ("", "NAME", "MESH", "TOKEN"),
        [
            ("*" if name == contexts.current else "", name, entry.api or entry.state, entry.token_file or "-")
            for name, entry in sorted(contexts.contexts.items())
        ],
    )
    if not contexts.contexts:
        echo("no contexts: add one with `mesh context add`")


@app.command(cls=MeshCommand)
def remove(name: ContextArgument) -> None:
    """Remove a context. The mesh and the file of its token stay.

    \b
    Example:
      mesh context remove staging
    """
    contexts = read_contexts(os.environ)
    contexts.get(name)
    rest = {other: entry for other, entry in contexts.contexts.items() if other != name}
    _write(Contexts("" if contexts.current == name else contexts.current, rest))
    echo(f"context {name} removed")


def _write(contexts: Contexts) -> None:
    path = contexts_file(os.environ)
    try:
        private_folder(path.parent)
        write_private(path, contexts.to_json())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
