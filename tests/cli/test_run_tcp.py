"""PostgreSQL joins and is called through the mesh over plain TCP."""

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
"""The first message of a client (PostgreSQL's protocol 3.0, "SSLRequest")."""


@dataclass(frozen=True)
class Postgres:
    """A database cluster: `run` starts its server at PORT, not as root."""

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
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front")]) as running:
        yield running


def _answer(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1)
    except ConnectionResetError:
        return b""


def query(mesh: Mesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a client that takes the address of its database from the environment."""
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


def test_a_database_is_called_through_two_sidecars(mesh: Mesh, postgres: Postgres) -> None:
    with joined(mesh, "db-1", "db", "--port", "0", "--protocol", "tcp", run=postgres.run) as db:
        done = query(mesh, "--upstream", "db=5432")
        assert done.returncode == 0, done.stderr
        host, port, text = done.stdout.strip().split(" ", 2)
        assert (port, text) == ("5432", "through the mesh")
        assert host != "127.0.0.1"
        assert connections(mesh, "db-1") == 1
        with socket.create_connection(("127.0.0.1", db.port("inbound")), 10) as plain:
            plain.sendall(SSL_REQUEST)
            assert _answer(plain) == b"", "PostgreSQL itself would respond N: no TLS"
        assert db.stop() == 0


def connections(mesh: Mesh, instance: str) -> int:
    """The number of TCP connections that the sidecar of an instance accepted for its app."""
    stdout = mesh.run("proxy", instance, "stats", "--filter", "tcp.inbound.downstream_cx_total").stdout
    return sum(int(line.rpartition(":")[2]) for line in stdout.splitlines())


def test_a_wrong_upstream_is_reported(mesh: Mesh) -> None:
    done = query(mesh, "--upstream", "db=many")
    assert (done.returncode, done.stderr) == (
        2,
        "--upstream db=many: expected NAME or NAME=PORT, for example db or db=5432\n",
    )
