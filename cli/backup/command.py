"""`mesh backup` and `mesh restore`: the CA, the history, tokens and certificates of a mesh in one file."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.backup import contents, sealed_file
from meshwright.cli.backup.reachable_store import reachable_store
from meshwright.cli.errors import warn
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import echo, print_data, rfc3339
from meshwright.cli.state_lock import StateLock, holder
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.config import Settings, read_settings
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.files import password
from meshwright.control_plane.store import archive

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The file of the backup.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="PATH", help="A private file whose first line is the passphrase."
    ),
]


def backup(
    file: FileArgument,
    *,
    passphrase_file: PassphraseOption = None,
    unencrypted: Annotated[
        bool, typer.Option("--unencrypted", help="Do not encrypt: protect the file like the CA's key.")
    ] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Write a whole mesh to one file: CA, policies and their history, events, tokens, gateways' certificates.

    The mesh may run or not; run the command where its control plane is. The file has mode 0600, and is
    encrypted, for who has the CA's key can be any service. The data of services and the keys of sidecars are
    not in it.

    \b
    Example:
      mesh backup mesh.backup --passphrase-file ~/mesh.passphrase
    """
    if (passphrase_file is None) != unencrypted:
        raise InputError(
            "the backup has the CA's key: give --passphrase-file FILE, or else --unencrypted for a file that "
            "you protect yourself"
        )
    if file.exists():
        raise InputError(f"{file}: exists already: name another file")
    passphrase = password(passphrase_file).encode() if passphrase_file else b""
    settings = _settings(state)
    content = asyncio.run(_content(settings))
    sealed = sealed_file.seal(
        content, passphrase, secrets.token_bytes(sealed_file.SALT_BYTES + sealed_file.NONCE_BYTES)
    )
    _write(file, sealed)
    if settings.ca_key:
        warn(f"{settings.ca_key}: not in the backup, since MESH_CA_KEY names it: keep a copy")
    if output is not Output.table:
        print_data({"file": str(file), "bytes": len(sealed), **content["about"]}, output)
        return
    secret = "encrypted" if passphrase else "NOT encrypted: whoever reads it can be any service"
    echo(f"wrote {file}: revision {content['about']['revision']}, {len(sealed)} bytes, {secret}")


def restore(
    file: FileArgument,
    *,
    passphrase_file: PassphraseOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the mesh that is there.")] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Make a state directory and its store what a backup says. The mesh must be stopped.

    Sidecars that run elsewhere go on meanwhile, and need no new certificate or token: the CA is the same.

    \b
    Example:
      mesh restore mesh.backup --passphrase-file ~/mesh.passphrase && mesh up --detach
    """
    data = _read(file)
    try:
        if sealed_file.is_encrypted(data) and passphrase_file is None:
            raise InputError("it is encrypted: give --passphrase-file FILE")
        passphrase = password(passphrase_file).encode() if passphrase_file else b""
        files, store, about = contents.from_json(sealed_file.unseal(data, passphrase))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    settings = _settings(state)
    if (settings.state / "ca" / "root.key").exists() and not force:
        raise InputError(f"{settings.state}: there is a mesh here: use --force to replace it")
    lock = StateLock(settings.state)
    try:
        asyncio.run(_restore_store(settings, store, replace=force))
        contents.write_files(settings.state, files, int(about["revision"]))
    finally:
        lock.release()
    if output is not Output.table:
        print_data(dict(about), output)
        return
    echo(f"restored revision {about['revision']} as of {about['time']}; start the mesh with `mesh up`")


def _settings(state: Path | None) -> Settings:
    return read_settings({**os.environ, **({"MESH_STATE": str(state)} if state else {})})


async def _content(settings: Settings) -> dict[str, Any]:
    """The content of a backup of a mesh that runs or not."""
    if not settings.state.is_dir():
        raise InputError(f"{settings.state}: there is no mesh here: give the --state of one")
    lock = StateLock(settings.state) if holder(settings.state) is None and not settings.redis_url else None
    try:
        async with reachable_store(settings) as (url, secret):
            revision, store = await archive.dump_store(url, secret)
    finally:
        if lock is not None:
            lock.release()
    about = {"revision": revision, "time": rfc3339(time.time()), "release": VERSION}
    return contents.to_json(contents.read_files(settings.state), store, about)


async def _restore_store(settings: Settings, entries: archive.Entries, *, replace: bool) -> None:
    async with reachable_store(settings) as (url, secret):
        await archive.restore_store(url, secret, entries, replace=replace)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {(error.strerror or type(error).__name__).lower()}") from None


def _write(file: Path, data: bytes) -> None:
    """Write a new private file; nothing is left of it if that fails. Raises InputError."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InputError(f"{file}: cannot be created: {(error.strerror or '').lower()}") from None
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
    except BaseException as error:
        file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"{file}: cannot be written: {(error.strerror or '').lower()}") from None
        raise
