"""`mesh backup` and `mesh restore` of a real mesh, whose other sidecars go on."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.joining import joined, listed
from tests.cli.samples import retry
from tests.cli.test_up import application_file, mesh_command, stopped_afterwards
from tests.envoy.harness import Mesh, service, settings, until

MISSING = "the backup has the CA's key: give --passphrase-file FILE, or else --unencrypted"


def test_a_backup_is_encrypted_or_said_not_to_be(tmp_path: Path) -> None:
    env = settings(tmp_path / "state")
    refused = mesh_command("backup", str(tmp_path / "b"), env=env)
    assert (refused.returncode, refused.stderr.startswith(MISSING)) == (2, True), refused.stderr
    nothing = mesh_command("backup", str(tmp_path / "b"), "--unencrypted", env=env)
    assert (nothing.returncode, "there is no mesh here" in nothing.stderr) == (2, True), nothing.stderr


@pytest.mark.long
def test_after_a_wiped_store_a_restore_brings_back_history_and_sidecars_without_enrolment(
    tmp_path: Path,
) -> None:
    state, file = tmp_path / "state", tmp_path / "mesh.backup"
    env = settings(state)
    application = application_file(tmp_path, [service("front")])
    mesh = Mesh(state, None, 0, env)  # type: ignore[arg-type]
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    passphrase = ("--passphrase-file", str(secret))

    def run(*arguments: str) -> str:
        done = mesh_command(*arguments, env=env, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def history() -> list[dict[str, object]]:
        items: list[dict[str, object]] = json.loads(run("history", "-o", "json"))["items"]
        return items

    serve = f"exec {sys.executable} -m http.server $PORT --bind 127.0.0.1 --directory {tmp_path}"
    with stopped_afterwards(env):
        run("up", "-f", str(application), "--detach")
        mesh.apply(retry("one", "docs"))
        mesh.apply(retry("one", "docs", 3))
        with joined(mesh, "docs-1", "docs", "--port", "0", run=("sh", "-c", serve)) as docs:
            identity = (docs.folder / "sidecars" / "docs-1" / "identity.json").read_bytes()
            before, proxy = history(), docs.pid("proxy")
            assert "revision 2" in run("backup", str(file), *passphrase)
            assert file.stat().st_mode & 0o777 == 0o600
            assert b"PRIVATE KEY" not in file.read_bytes()
            run("down")
            for name in ("store", "ca", "tokens"):
                shutil.rmtree(state / name)
            run("restore", str(file), *passphrase)
            refused = mesh_command("restore", str(file), *passphrase, env=env)
            assert (refused.returncode, "use --force" in refused.stderr) == (2, True), refused.stderr
            run("restore", str(file), *passphrase, "--force")
            run("up", "-f", str(application), "--detach")
            assert history() == before
            until(lambda: listed(mesh, "docs-1") == "synced", "the other sidecar is connected again")
            until(
                lambda: mesh.get("front-1", "http://docs/application.yaml").status_code == 200,
                "docs is called",
            )
            assert docs.pid("proxy") == proxy
            assert (docs.folder / "sidecars" / "docs-1" / "identity.json").read_bytes() == identity
            mesh.apply(retry("one", "docs", 4))
            assert len(history()) == 3
