"""The credential with which an app calls through its sidecar, and where it is kept.

It stays the same for as long as the workload has its folder: the app has it in its environment, and may
outlive the agent and Envoy.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from meshwright.control_plane.api.private_files import read_private
from meshwright.sidecar.files import write_private

USER = "mesh"
"""The user name, which Envoy compares too (control_plane.core.caller_check)."""

CREDENTIAL_FILE = "credential"

_SECRET_BYTES = 32
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_PROXY_SETTING = re.compile(rf"(?m)^HTTP_PROXY=http://{USER}:([A-Za-z0-9_-]{{43}})@")


@dataclass(frozen=True, slots=True)
class ProxyCredential:
    """256 random bits; URLs take them without escapes."""

    secret: str = field(repr=False)

    @property
    def userinfo(self) -> str:
        """The part of a proxy's URL before the host."""
        return f"{USER}:{self.secret}@"

    @property
    def secret_hash(self) -> str:
        """What the control plane and Envoy know. SHA-1 is safe here: nobody can guess 256 random bits."""
        digest = hashlib.sha1(self.secret.encode(), usedforsecurity=False).digest()
        return base64.b64encode(digest).decode()


def load_credential(folder: Path) -> ProxyCredential:
    """The credential of the workload whose private folder this is, created if there is none.

    Raises InputError if the file is not private, OSError if it cannot be written.
    """
    path = folder / CREDENTIAL_FILE
    try:
        secret = read_private(path, secret=True).decode("ascii", "replace").strip()
    except FileNotFoundError:
        secret = ""
    if not _SECRET.fullmatch(secret):
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        write_private(path, f"{secret}\n")
    return ProxyCredential(secret)


def load_from_environment_file(path: Path) -> ProxyCredential:
    """The credential in a file that `write_environment_file` wrote earlier; a new one if there is none.

    Raises InputError if the file is not private.
    """
    try:
        text = read_private(path, secret=True).decode("utf-8", "replace")
    except FileNotFoundError:
        text = ""
    setting = _PROXY_SETTING.search(text)
    return ProxyCredential(setting[1] if setting else secrets.token_urlsafe(_SECRET_BYTES))
