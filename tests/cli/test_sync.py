"""`mesh sync` against real git repositories: what it applies, refuses, prunes, and reports as drift."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from meshwright.cli.documents import InvalidFilesError
from meshwright.cli.gitops.sources import FolderSource, GitSource, SourceError, is_repository
from meshwright.cli.gitops.sync import Follower, LostLabelError, SyncStep
from meshwright.control_plane.api.errors import ApiError
from meshwright.control_plane.api.sync_marks import LABEL
from meshwright.control_plane.errors import InputError
from tests.cli.conftest import MESH, ROOT, RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh

ENV = {
    **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
    **{"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.com", "HOME": "/nonexistent"},
    **{"GIT_COMMITTER_NAME": "Cat", "GIT_COMMITTER_EMAIL": "cat@example.com"},
}


@dataclass
class Repository:
    """A repository with a work tree, whose branch `main` is followed."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "init.defaultBranch=main", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=ENV, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, subject: str, files: dict[str, str | None], *more: str) -> str:
        """Commit changes (None: removed); returns the commit's version."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True) if text is None else path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject, *more)
        return self.git("rev-parse", "HEAD")[:12]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "repository"
    folder.mkdir()
    repository = Repository(folder)
    repository.git("init", "-q")
    return repository


def follower(mesh: FakeMesh, repository: Repository, store: Path, **options: bool) -> Follower:
    store.mkdir()
    return Follower(
        GitSource(str(repository.folder), "main", "policies", store), "shop", mesh.state, **options
    )


async def names(run: RunMesh) -> list[str]:
    return sorted((await run("get", "-o", "name")).out.split())


async def step(follower: Follower) -> SyncStep:
    return await asyncio.to_thread(follower.step)


async def test_commits_become_revisions_of_their_authors_and_what_is_removed_is_pruned(
    mesh: FakeMesh, run: RunMesh, repository: Repository, tmp_path: Path
) -> None:
    await run("apply", "-f", "-", text=retry("by-hand"))
    first = repository.commit(
        "retry twice",
        {"policies/a.yaml": retry("a"), "policies/deep/b.yml": retry("b"), "README.md": "no policy",
         "other/c.yaml": "broken: [", "policies/.hidden/d.yaml": "broken: ["},
    )  # fmt: skip
    shop = follower(mesh, repository, tmp_path / "store")
    applied = await step(shop)
    assert (applied.state, applied.version, applied.changed) == (
        "applied", first, ("created Retry/a", "created Retry/b"),
    )  # fmt: skip
    assert await step(shop) == SyncStep("synced", first, 2, (), "Ann <ann@example.com>", "retry twice")
    newest = mesh.store.revisions[-1].info
    assert (newest.author, newest.message) == ("Ann <ann@example.com>", f"retry twice (sync shop {first})")
    second = repository.commit("no b", {"policies/deep/b.yml": None})
    pruned = await step(shop)
    assert (pruned.state, pruned.version, pruned.changed) == ("applied", second, ("deleted Retry/b",))
    assert await names(run) == ["retry/a", "retry/by-hand"]
    amended = repository.commit("rewritten", {"policies/a.yaml": retry("a", attempts=5)}, "--amend")
    assert ((await step(shop)).version, amended != second) == (amended, True), "a branch may be forced"


async def test_a_broken_commit_changes_nothing_and_the_next_good_one_is_applied(
    mesh: FakeMesh, run: RunMesh, repository: Repository, tmp_path: Path
) -> None:
    repository.commit("good", {"policies/a.yaml": retry("a")})
    shop = follower(mesh, repository, tmp_path / "store")
    await step(shop)
    broken = repository.commit("broken", {"policies/a.yaml": retry("a").replace("attempts", "atempts")})
    with pytest.raises(InvalidFilesError, match=rf"^a\.yaml@{broken}:9:3: spec\.atempts"):
        await step(shop)
    repository.commit("nothing", {"policies/a.yaml": None, "policies/x.txt": ""})
    with pytest.raises(InputError, match="has no policies: to delete all, use"):
        await step(shop)
    (repository.folder / "policies" / "secret.yaml").symlink_to("/etc/passwd")
    users = retry("a").partition("  attempts")[0].replace("Retry", "BasicAuthentication")
    for name in ("/etc/hostname", "../../x", "secret.yaml"):
        repository.commit("stolen", {"policies/b.yaml": f"{users}  users: {{file: {name}}}\n"})
        with pytest.raises(InvalidFilesError, match=r"is outside of what is synced|no such file in version"):
            await step(shop)
    repository.commit("good again", {"policies/a.yaml": retry("a", attempts=4), "policies/b.yaml": None})
    assert (await step(shop)).changed == ("changed Retry/a",)
    assert mesh.store.revisions[-1].info.revision == 2


async def test_what_others_change_is_drift_until_it_is_corrected_even_after_a_restart(
    mesh: FakeMesh, run: RunMesh, repository: Repository, tmp_path: Path
) -> None:
    version = repository.commit("two", {"policies/a.yaml": retry("a"), "policies/b.yaml": retry("b")})
    await step(follower(mesh, repository, tmp_path / "first"))
    await run("delete", "retry/b", "-m", "an emergency")
    restarted = follower(mesh, repository, tmp_path / "second")
    drift = await step(restarted)
    assert (drift.state, drift.version, drift.changed) == ("drifted", version, ("created Retry/b",))
    assert drift.repeats(await step(restarted))
    corrected = await step(follower(mesh, repository, tmp_path / "third", corrects=True))
    assert (corrected.state, corrected.changed) == ("applied", ("created Retry/b",))
    assert (await step(restarted)).state == "synced"


async def test_a_sync_whose_policies_have_all_lost_the_label_applies_nothing_and_says_so(
    mesh: FakeMesh, run: RunMesh, repository: Repository, tmp_path: Path
) -> None:
    repository.commit("two", {"policies/a.yaml": retry("a"), "policies/b.yaml": retry("b")})
    shop = follower(mesh, repository, tmp_path / "store")
    await step(shop)
    await run("apply", "-f", "-", text=f"{retry('a')}---\n{retry('b')}")
    with pytest.raises(
        LostLabelError, match=r"no policy has its label .*: somebody else applied Retry/a, Re"
    ):
        await step(shop)
    repository.commit("no b", {"policies/b.yaml": None, "policies/a.yaml": retry("a", attempts=5)})
    with pytest.raises(LostLabelError, match=r"since revision 1\. --correct-drift takes back"):
        await step(shop)
    assert (mesh.store.revisions[-1].info.revision, await names(run)) == (2, ["retry/a", "retry/b"])
    once = await run("sync", str(repository.folder), "--branch", "main", "--name", "shop", "--once")
    assert (once.code, "no policy has its label" in once.err) == (1, True)
    corrected = await step(follower(mesh, repository, tmp_path / "second", corrects=True))
    assert corrected.changed == ("changed Retry/a",)
    assert (await step(shop)).state == "synced"


async def test_the_last_version_is_remembered_beyond_a_page_of_the_history(
    mesh: FakeMesh, run: RunMesh, repository: Repository, tmp_path: Path
) -> None:
    repository.commit("one", {"policies/a.yaml": retry("a")})
    await step(follower(mesh, repository, tmp_path / "first"))
    await run("apply", "-f", "-", text=retry("a", attempts=3))
    newest = mesh.store.revisions[-1]
    for number in range(newest.info.revision + 1, newest.info.revision + 60):
        info = newest.info.model_copy(update={"revision": number})
        mesh.store.revisions.append(replace(newest, info=info))
    with pytest.raises(LostLabelError, match="since revision 1"):
        await step(follower(mesh, repository, tmp_path / "second"))


async def test_a_sync_that_was_ended_or_whose_policies_were_deleted_may_begin_again(
    mesh: FakeMesh, run: RunMesh, repository: Repository, tmp_path: Path
) -> None:
    repository.commit("one", {"policies/a.yaml": retry("a")})
    shop = follower(mesh, repository, tmp_path / "store")
    await step(shop)
    await run("delete", "retry/a")
    assert (await step(shop)).changed == ("created Retry/a",)
    repository.commit("three", {"policies/a.yaml": retry("a", attempts=3)})
    assert (await step(shop)).state == "applied"
    await run("apply", "-f", "-", "-m", "by hand (sync shop ended)", text=retry("a", attempts=4))
    repository.commit("five", {"policies/a.yaml": retry("a", attempts=5)})
    assert (await step(shop)).state == "applied"


async def test_what_the_mesh_has_withdrawn_is_drift_that_is_not_corrected(
    mesh: FakeMesh, run: RunMesh, repository: Repository, tmp_path: Path
) -> None:
    repository.commit("good", {"policies/a.yaml": retry("a")})
    shop = follower(mesh, repository, tmp_path / "store", corrects=True)
    await step(shop)
    repository.commit("harmful", {"policies/a.yaml": retry("a", attempts=9)})
    await step(shop)
    harmful = mesh.store.revisions[2]
    info = harmful.info.model_copy(update={"withdrawn": "12 of 60 failed"})
    mesh.store.revisions[2] = replace(harmful, info=info)
    await run("rollback", "1", "-m", "withdraws revision 2")
    for again in (shop, follower(mesh, repository, tmp_path / "restarted", corrects=True)):
        drift = await step(again)
        assert (drift.state, drift.revision, drift.changed) == ("drifted", 3, ("changed Retry/a",))
    repository.commit("better", {"policies/a.yaml": retry("a", attempts=3)})
    assert (await step(shop)).state == "applied"


async def test_a_source_that_is_away_is_said_without_its_password(
    mesh: FakeMesh, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    source = GitSource("http://ann:secret@127.0.0.1:9/shop.git", "main", "", tmp_path / "store")
    with pytest.raises(SourceError, match=r"^http://127\.0\.0\.1:9/shop\.git main: git fetch: ") as failed:
        await asyncio.to_thread(source.read)
    assert "secret" not in str(failed.value)
    with pytest.raises(InputError, match="cannot begin with -"):
        GitSource("--upload-pack=touch x", "", "", tmp_path)
    assert [is_repository(text) for text in ("https://x/y", "git@x:y/z", "x.git", str(tmp_path), "a@b")] == [
        True, True, True, False, False,
    ]  # fmt: skip


async def test_a_folder_is_followed_until_interrupted_and_a_mistake_is_said_once(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    file = folder / "a.yaml"
    file.write_text(retry("a"))
    environment = {**os.environ, "MESH_STATE": str(mesh.state), "PYTHONPATH": str(ROOT), "MESH_AUTHOR": "ann"}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MESH, "sync", str(folder), "--interval", "1s"),
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout and child.stderr
    async with asyncio.timeout(120):
        assert (await child.stdout.readline()).startswith(b"revision 1: ")
        assert await child.stdout.readline() == b"  created Retry/a\n"
        file.write_text("kind: Retry\n")
        problem = (await child.stderr.readline()).decode()
        assert problem.startswith("a.yaml@")
        file.write_text(retry("a", attempts=7))
        assert (await child.stdout.readline()).startswith(b"revision 2: ")
        child.send_signal(signal.SIGTERM)
        complaints = (await child.stderr.read()).decode()
        assert complaints.count("not applied, the mesh stays as it is") == 1
        assert await child.wait() == 0
    labels = (await run("get", "retry/a", "-o", "jsonpath={.metadata.labels}")).out
    assert f'"{LABEL}": "default"' in labels


async def test_what_the_control_plane_refuses_is_at_the_line_of_its_version(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    await run(
        "apply", "-f", "-", text=retry("by-hand").replace("name: by-hand", "name: by-hand\n  namespace: one")
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.yaml").write_text(
        retry("a").replace("name: a\n", "name: a\n  namespace: two\n")
    )
    with pytest.raises(ApiError) as refused:
        await step(Follower(FolderSource(tmp_path / "folder"), "shop", mesh.state))
    (problem,) = refused.value.problems
    assert str(problem).startswith("a.yaml@")
    assert (problem.line, problem.message[:20]) == (5, "metadata.namespace: ")
