"""Creates what the containers of docker-compose.yml share: secrets, and folders that they may write.

Runs as root in a container without a network, at every `docker compose up`. A secret that exists stays. Each
volume `secrets-NAME` gets copies of the secrets that containers with it need, and no others. Everything
belongs to the user `$OWNER`, which the containers run as; PostgreSQL reads its secrets as root.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshwright.cli import self_signed
from meshwright.control_plane.ca.issue import new_root

SECRETS = Path("/secrets")
VOLUMES = Path("/volumes")

TRUST_DOMAIN = "mesh.local"

POSTGRES_SECONDS = 10 * 365 * 86_400.0
"""Lifetime of the certificate of PostgreSQL, which its clients trust and no other."""

PASSWORDS = ("valkey.password", "postgres.password", "grafana.password", "prometheus.token", "read.token")

COPIES = {
    "secrets-control-plane": (
        "root.pem",
        "root.key",
        "tokens.key",
        "valkey.password",
        "prometheus.token",
        "read.token",
    ),
    "secrets-valkey": ("valkey.password",),
    "secrets-postgres": ("postgres.password", "postgres.pem", "postgres.key"),
    "secrets-services": ("postgres.pgpass", "postgres.pem"),
    "secrets-prometheus": ("prometheus.token",),
    "secrets-grafana": ("grafana.password", "read.token"),
}
"""The secrets in each volume."""


def main() -> None:
    """Create what is missing, and hand it over."""
    owner = int(os.environ["OWNER"])
    os.umask(0o077)
    create_secrets(SECRETS)
    for volume, names in COPIES.items():
        for name in names:
            write(VOLUMES / volume / name, (SECRETS / name).read_bytes())
    for folder in sorted(VOLUMES.iterdir()):
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner, owner, follow_symlinks=False)
        folder.chmod(0o700)


def create_secrets(folder: Path) -> None:
    """Create each secret that is missing in `folder`."""
    if not (folder / "root.pem").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        root = new_root(TRUST_DOMAIN, key, time.time(), x509.random_serial_number())
        write(folder / "root.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        write(folder / "root.pem", root.bundle.encode())
    create(folder / "tokens.key", lambda: secrets.token_bytes(32))
    for name in PASSWORDS:
        create(folder / name, lambda: secrets.token_hex(32).encode())
    if not (folder / "postgres.pem").exists():
        certificate, private_key = self_signed.create(["postgres"], time.time(), POSTGRES_SECONDS)
        write(folder / "postgres.key", private_key.encode())
        write(folder / "postgres.pem", certificate.encode())
    password = (folder / "postgres.password").read_text()
    create(folder / "postgres.pgpass", f"postgres:5432:*:exchange:{password}\n".encode)


def create(path: Path, make: Callable[[], bytes]) -> None:
    """Write the bytes of `make` to a file that is missing."""
    if not path.exists():
        write(path, make())


def write(path: Path, content: bytes) -> None:
    """Replace a file of mode 0600 at once: a crash leaves the old one or the new one."""
    if path.exists() and path.read_bytes() == content:
        return
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


if __name__ == "__main__":
    main()
