"""Refuses to create a key of the CA if a mesh has used one already: the rest of the mesh would not accept it.

The store knows the root by its hash, and the join tokens that were issued. Both are compared with the files
before any file is created, so a refused start changes nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError, StoreError
from meshwright.control_plane.store.root_claim import RootClaim, way_out
from meshwright.control_plane.store.store import Store


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """What the store knows: the root's hash ("": none is recorded), and the number of valid join tokens."""

    root_sha256: str = ""
    tokens: int = 0


async def read_stored_keys(store: Store) -> StoredKeys | None:
    """What the store knows; None if it cannot be read. Changes nothing in it."""
    try:
        root = await store.stored_root()
        tokens = await store.tokens.list() if root else ()
    except StoreError:
        return None
    now = time.time()
    return StoredKeys(root, sum(token.expires > now and not token.revoked for token in tokens))


def check_not_lost(settings: Settings, stored: StoredKeys | None) -> None:
    """Raise InputError if a key that a mesh has used would be replaced; `stored` is None while unknown.

    Files that settings name are not concerned: they are never created.
    """
    folder = settings.state / "ca"
    has_root = any((folder / name).exists() for name in ("root.pem", "root.key"))
    if not settings.ca_certificate and not has_root:
        _check_root(settings, stored)
        return  # a new root voids all join tokens, whichever key has signed them
    if not settings.ca_tokens_key and not (folder / "tokens.key").exists():
        _check_tokens_key(settings, stored)


def _check_root(settings: Settings, stored: StoredKeys | None) -> None:
    folder, revision = settings.state / "ca", settings.state / "revision"
    lost = f"{folder}/root.pem: the root of this mesh is lost: restore {folder} from a backup."
    if stored is not None and stored.root_sha256:
        if not RootClaim(replaces=settings.ca_replaces).may_replace(stored.root_sha256):
            raise InputError(f"{lost} {way_out(stored.root_sha256)}")
    elif revision.exists():
        raise InputError(
            f"{lost} To go on with a new root instead, stop the mesh, run `rm {revision}` and start it: "
            "every sidecar enrols again, with a new join token"
        )


def _check_tokens_key(settings: Settings, stored: StoredKeys | None) -> None:
    if not stored.tokens if stored else not (settings.state / "revision").exists():
        return
    file = settings.state / "ca" / "tokens.key"
    count = f"{stored.tokens} " if stored else ""
    raise InputError(
        f"{file}: the key that signs join tokens is lost: restore it from a backup, or name the one of the "
        f"other control planes in MESH_CA_TOKENS_KEY. To give up the {count}valid join tokens instead, run "
        f"`(umask 077; head -c 32 /dev/urandom > {file})`, start, and create new ones with "
        "`mesh token create`: sidecars that run are not affected"
    )
