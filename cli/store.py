"""`mesh store repair`: makes a damaged embedded store start again."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from meshwright.cli.errors import CommandError
from meshwright.cli.options import StateOption
from meshwright.cli.output import echo
from meshwright.cli.state_lock import StateLock
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api import errors
from meshwright.control_plane.config import read_settings
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.store.last_revision import LastRevisionFile

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def store() -> None:
    """Look after the embedded store of a mesh that is stopped.

    \b
    Example:
      mesh store repair
    """


@app.command(cls=MeshCommand)
def repair(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Cut without asking.")] = False,
    state: StateOption = None,
) -> None:
    """Cut the damaged end off the store's log, after a crash, so that it starts again.

    Everything before the damage is kept, what comes after it is lost. The damaged file is kept as a copy. The
    command says what it would cut before it does.

    \b
    Example:
      mesh down && mesh store repair && mesh up --detach
    """
    from meshwright.control_plane.store import embedded, repair  # takes 0.3 s, which --help need not wait for

    settings = read_settings({**os.environ, **({"MESH_STATE": str(state)} if state else {})})
    if settings.redis_url:
        raise InputError(
            "MESH_REDIS_URL: repair that server with its own tools: this is for the embedded store"
        )
    if not (settings.state / "store").is_dir():
        raise InputError(f"{settings.state}: there is no embedded store here: give the --state of a mesh")
    lock = StateLock(settings.state)
    try:
        valkey = embedded.locate(settings.state)
        if embedded.is_running(valkey):
            raise InputError(f"{valkey.socket}: the store is running: stop it with `mesh down`")
        damage = repair.find_damage(valkey)
        if damage is None:
            echo(f"the store is not damaged: {valkey.folder}")
            return
        lost = damage.size - damage.valid
        echo(f"{damage.file}: whole up to byte {damage.valid} of {damage.size}; {lost} bytes are lost")
        if not yes and not typer.confirm("Cut them off?"):
            raise CommandError(errors.FAILED, "nothing was changed")
        copy = repair.cut(damage, int(time.time()))
        if (left := repair.find_damage(valkey)) is not None:
            raise CommandError(errors.FAILED, f"{left.file}: is still damaged: restore a backup")
    finally:
        lock.release()
    echo(f"cut; the damaged file is {copy}")
    file = settings.state / "revision"
    seen = LastRevisionFile(file).load()
    if damage.revision is not None:
        echo(f"the newest revision is {damage.revision}")
    if damage.revision is not None and damage.revision < seen:
        echo(f"revision {seen} is lost: to go on with {damage.revision}, run `rm {file}`")
    echo("start the mesh with `mesh up`")
