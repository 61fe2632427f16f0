"""`mesh support-bundle`: what is redacted, what is bounded, and a bundle without a mesh."""

from __future__ import annotations

import base64
import io
import json
import stat
import tarfile
from pathlib import Path

import pytest

from meshwright.cli.support_bundle import archive as archive_module
from meshwright.cli.support_bundle.archive import bundle_archive
from meshwright.cli.support_bundle.known_secrets import known_secrets
from meshwright.cli.support_bundle.redaction import REDACTED, Redaction
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import AgentConfig, Workload
from tests.cli.conftest import RunMesh

KEY_LINES = ("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg" + "A" * 16, "B" * 64)
KEY = "\n".join(("-----BEGIN PRIVATE KEY-----", *KEY_LINES, "-----END PRIVATE KEY-----"))


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key:\n{KEY}\nrest", KEY_LINES[1]),
        (json.dumps({"pem": KEY, "rest": 1}), KEY_LINES[0]),
        (f"cut {KEY[:80]} rest"[:70] + " rest", KEY_LINES[0][:20]),
        ("Authorization: Bearer abc.def-123== rest", "abc.def-123"),
        ('{"authorization":"Basic YWxhZGRpbjpvcGVu"} rest', "YWxhZGRpbjpvcGVu"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln rest", "eyJzdWIiOiJhIn0"),
        ("redis://user:hunter2@db:6379/0 rest", "hunter2"),
        ("ops:{SHA}q/eq1kOINtvlJqojGr3i0O73TUI= rest", "q/eq1kOINtvlJqojGr3i0O73TUI"),
        ("password=hunter2, rest", "hunter2"),
        ('{"api_key": "hunter2", "rest": 1}', "hunter2"),
        (json.dumps(json.dumps({"client-secret": "hunter2", "rest": 1})), "hunter2"),
        ("known secret-of-the-mesh rest", "secret-of-the-mesh"),
    ],
)
def test_secrets_are_replaced_and_the_rest_stays(text: str, secret: str) -> None:
    redacted = Redaction(["secret-of-the-mesh", "a"]).redact(text)
    assert secret not in redacted
    assert REDACTED in redacted
    assert "rest" in redacted or "cut" in redacted


def test_what_is_no_secret_stays() -> None:
    text = (
        '{"service": "tokens", "url": "http://a:80/x?y=1", "secret": "<redacted>", "password": "[redacted]"}'
    )
    assert Redaction(["a", ""]).redact(text) == text


def test_the_secrets_of_a_state_directory_are_known(tmp_path: Path) -> None:
    for folder in ("ca", "store", "tokens", "sidecars/a-1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "admin.token").write_text("the-admin-token\n")
    (tmp_path / "ca" / "root.key").write_text(KEY)
    (tmp_path / "ca" / "tokens.key").write_bytes(b"\xff\xfe" * 16)
    (tmp_path / "store" / "password").write_text("the-store-password\n")
    (tmp_path / "tokens" / "a").write_text("the-join-token\n")
    (tmp_path / "sidecars" / "a-1" / "identity.json").write_text(json.dumps({"key": {"inline_string": KEY}}))
    env = {
        "DB_PASSWORD": "the-db-password",
        "DATABASE_URL": "postgres://u:the-url-password@h/d",
        "MODE": "plain",
    }
    config = AgentConfig(
        addresses=MeshAddresses(admin="http://127.0.0.1:1", xds="a:1", enrolment="a:1", ca_sha256="x"),
        state=tmp_path, envoy=tmp_path,
        workloads=(Workload(name="a-1", service="a", token_file=tmp_path / "x", env=env),),
    )  # fmt: skip
    (tmp_path / "agent-config.json").write_text(config.model_dump_json())
    (tmp_path / "agent-config.json").chmod(0o600)
    secrets = set(
        known_secrets(tmp_path, {"MESH_REDIS_URL": "redis://:the-redis-password@h:1", "HOME": "/x"})
    )
    assert secrets >= {
        "the-admin-token", "the-store-password", "the-join-token", "the-db-password", "the-url-password",
        "the-redis-password", *KEY_LINES, base64.b64encode(b"\xff\xfe" * 16).decode(),
    }  # fmt: skip
    assert not secrets & {"plain", "/x", "-----BEGIN PRIVATE KEY-----"}


def test_an_archive_is_private_bounded_and_never_replaces_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_ENTRY", 10)
    monkeypatch.setattr(archive_module, "MAX_TOTAL", 25)
    path = tmp_path / "bundle.tar.gz"
    with bundle_archive(path, Redaction(["secret"])) as archive:
        archive.add("long.log", "0123456789 the end")
        archive.add("a.txt", "a secret")
        archive.add("b.txt", "does not fit")
        assert (archive.shortened, archive.left_out) == (["long.log", "a.txt", "b.txt"], ["b.txt"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as tar:
        texts = {member.name: tar.extractfile(member) for member in tar}
        assert {name: file.read() for name, file in texts.items() if file} == {
            "bundle/long.log": b"89 the end", "bundle/a.txt": b"[redacted]",
        }  # fmt: skip
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists already"), bundle_archive(path, Redaction([])):
        pass
    assert path.read_bytes() == before
    with pytest.raises(ZeroDivisionError), bundle_archive(tmp_path / "failed", Redaction([])):
        _ = 1 / 0
    assert not (tmp_path / "failed").exists()


async def test_a_bundle_without_a_mesh_has_the_host_and_says_what_is_missing(
    tmp_path: Path, run: RunMesh
) -> None:
    logs = tmp_path / "state" / "logs"
    logs.mkdir(parents=True)
    (tmp_path / "state").chmod(0o700)
    (logs / "orders-1.log").write_text("Traceback\n")
    done = await run("support-bundle", "out.tar.gz")
    assert (done.code, "mode 0600" in done.out) == (0, True)
    assert "files could not be had" in done.err
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "out.tar.gz").read_bytes())) as tar:
        names = set(tar.getnames())
    assert names >= {
        "out/host/system.json", "out/host/doctor.json", "out/host/logs/orders-1.log", "out/manifest.json",
        "out/mesh/status.json.error.txt",
    }  # fmt: skip
    again = await run("support-bundle", "out.tar.gz")
    assert (again.code, again.err) == (2, "out.tar.gz: exists already: name another file\n")
