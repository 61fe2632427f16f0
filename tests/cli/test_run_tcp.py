"""PostgreSQL, which speaks first TCP and then its own protocol, joins and is called through the mesh."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.joining import command, joined
from tests.envoy.harness import ROOT, Mesh, running_mesh, service

QUERY = """
import asyncio, asyncpg, os
async def main():
    host, _, port = os.environ['DB_ADDRESS'].rpartition(':')
    at = {'host': host, 'port': int(port), 'user': 'postgres', 'database': 'postgres', 'ssl': False}
    connection = await asyncpg.connect(**at, timeout=20)
    await connection.execute('create table if not exists notes (text text)')
    await connection.execute("insert into notes values ('through the mesh')")
    print(host, port, await connection.fetchval('select text from notes'))
    await connection.close()
asyncio.run(main())
"""


SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""What a client asks first (PostgreSQL's protocol 3.0, "SSLRequest")."""


@dataclass(frozen=True)
class Postgres:
    """A database cluster: `run` starts its server at PORT, as somebody who is not root."""

    run: tuple[str, ...]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    folder = Path(tempfile.mkdtemp(prefix="mesh-postgres-"))
    become: tuple[str, ...] = ()
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    try:
        make = (str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "-N")
        subprocess.run([*become, *make], check=True, capture_output=True, cwd=folder)
        serve = f"exec {programs}/postgres -D {folder}/data -h 127.0.0.1 -p $PORT -k ''"
        yield Postgres((*become, "sh", "-c", serve))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front")]) as found:
        yield found


def _answer(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1)
    except ConnectionResetError:
        return b""


def query(mesh: Mesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A client that knows its database by the environment."""
    options = ("--service", "notes", "--state", str(mesh.state), *arguments)
    return subprocess.run(
        command("run", *options, "--", sys.executable, "-c", QUERY),
        capture_output=True,
        text=True,
        timeout=90,
        env=mesh.environment,
        cwd=ROOT,
        check=False,
    )


def test_a_database_joins_and_is_called_through_two_sidecars(mesh: Mesh, postgres: Postgres) -> None:
    with joined(mesh, "db-1", "db", "--port", "0", "--protocol", "tcp", run=postgres.run) as db:
        done = query(mesh, "--upstream", "db=5432")
        assert done.returncode == 0, done.stderr
        host, port, text = done.stdout.strip().split(" ", 2)
        assert (port, text) == ("5432", "through the mesh")
        assert host != "127.0.0.1"
        assert connections(mesh, "db-1") == 1
        with socket.create_connection(("127.0.0.1", db.port("inbound")), 10) as plain:
            plain.sendall(SSL_REQUEST)
            assert _answer(plain) == b"", "PostgreSQL would say N: no TLS of its own"
        assert db.stop() == 0


def connections(mesh: Mesh, instance: str) -> int:
    """TCP connections that the sidecar of an instance has taken for its app."""
    found = mesh.run("proxy", instance, "stats", "--filter", "tcp.inbound.downstream_cx_total").stdout
    return sum(int(line.rpartition(":")[2]) for line in found.splitlines())


def test_a_wrong_upstream_is_told(mesh: Mesh) -> None:
    done = query(mesh, "--upstream", "db=many")
    assert (done.returncode, done.stderr) == (2, "--upstream db=many: write it like db, or db=5432\n")
