"""`mesh up` remembers that its policies are those of the mesh, and notices when either of both changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from meshwright.cli.reconcile.agreement import AGREEMENT_FILE, agreement, is_agreed, remember
from tests.cli.test_up import LONGER_ROUTE, ROUTE, application_file, mesh_command, stopped_afterwards
from tests.envoy.harness import service, settings
from tests.fakes.ports import free_port

FILES = [("a.yaml", b"1"), ("b.yaml", b"2")]


def test_an_agreement_is_about_these_files_and_this_revision(tmp_path: Path) -> None:
    value = agreement(FILES, {"revision": 3, "time": "t"})
    others = [
        agreement(FILES, {"revision": 4, "time": "t"}),
        agreement(FILES, {"revision": 3, "time": "later"}),
        agreement(FILES[:1], {"revision": 3, "time": "t"}),
        agreement([("a.yaml", b"1b.yaml"), ("", b"2")], {"revision": 3, "time": "t"}),
    ]
    assert not is_agreed(tmp_path, value)
    remember(tmp_path, value)
    assert is_agreed(tmp_path, value)
    assert not any(is_agreed(tmp_path, other) for other in others)


def test_a_change_in_the_files_or_in_the_mesh_is_noticed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    env = settings(state)
    policy = tmp_path / "route.yaml"
    policy.write_text(ROUTE)
    file = application_file(tmp_path, [service("front")], free_port(), policies=["route.yaml"])

    def mesh(*arguments: str) -> str:
        done = mesh_command(*arguments, env=env, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def differing() -> list[str]:
        document: dict[str, Any] = json.loads(mesh("up", "--dry-run", "-o", "json"))
        return [item["action"] for item in document["policies"]]

    with stopped_afterwards(env):
        mesh("up", "-f", str(file), "--detach")
        assert differing() == []
        remembered = (state / AGREEMENT_FILE).read_text()
        # The content counts, not the time of a file.
        os.utime(policy)
        assert (differing(), (state / AGREEMENT_FILE).read_text()) == ([], remembered)
        policy.write_text(LONGER_ROUTE)
        assert differing() == ["changed"]
        policy.write_text(ROUTE)
        assert differing() == []
        changed = tmp_path / "changed.yaml"
        changed.write_text(LONGER_ROUTE)
        mesh("apply", "-f", str(changed))
        assert differing() == ["changed"]
        mesh("up", "--policies")
        assert differing() == []
        assert (state / AGREEMENT_FILE).read_text() != remembered
