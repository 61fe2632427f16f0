"""Shell completion: commands, options and live names, and the scripts in a real bash, zsh and fish."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from meshwright.cli.completion import answer
from meshwright.cli.completion.scripts import script
from meshwright.control_plane.api.contexts import Contexts, NamedMesh
from meshwright.control_plane.api.models.topology import ServiceList, ServiceSummary
from tests.cli.conftest import RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh

TREE = json.loads((files("meshwright.cli.completion") / "commands.json").read_text(encoding="utf-8"))

# A function takes the command's place and shows the words that the shell completed.
SHOW_WORDS = "mesh() { printf '<%s>' \"$@\"; echo; }"
SETUP = {
    "bash": ("bash --norc --noprofile -i", "bind 'set bell-style none'"),
    "zsh": ("zsh -f -i", "autoload -Uz compinit; compinit -u -d $ZDOTDIR/dump; unsetopt zle_bracketed_paste"),
}


async def complete(*words: str) -> list[str] | None:
    values = await asyncio.to_thread(answer.candidates, TREE, words)
    return None if values is None else [each.partition("\t")[0] for each in values]


@pytest.fixture
async def live(mesh: FakeMesh, run: RunMesh, monkeypatch: pytest.MonkeyPatch) -> FakeMesh:
    """A mesh with two services, a policy, a revision and a token."""
    for name in [each for each in os.environ if each.startswith("MESH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MESH_STATE", str(mesh.state))
    summaries = [ServiceSummary(name=name, health="healthy") for name in ("front", "orders")]
    mesh.services = ServiceList(services=tuple(summaries))
    applied = await run("apply", "-f", "-", "-m", "try this", text=retry("slow"))
    assert applied.code == 0, applied.err
    await mesh.tokens.mint("service", "orders", 60.0, "me")
    return mesh


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["resta"], ["restart"]),
        (["authz", "m"], ["matrix"]),
        (["get", "--out"], ["--output"]),
        (["history", "-o", "j"], ["json"]),
        (["history", "--output=j"], ["--output=json"]),
        (["history", "--output", "=", "j"], ["json"]),
        (["history", "--output", "="], ["table", "json", "yaml"]),
        (["edit", "retr"], ["retry"]),
        (["completion", "f"], ["fish"]),
        (["apply", "-f", ""], None),
        (["restart", "orders", ""], []),
        (["nonsense", ""], sorted(TREE["commands"])),
    ],
)
async def test_a_word_is_completed_without_a_mesh(words: list[str], expected: list[str] | None) -> None:
    assert await complete(*words) == expected


async def test_names_of_the_running_mesh_are_completed(live: FakeMesh) -> None:
    assert await complete("edit", "retry/") == ["retry/slow"]
    assert await complete("edit", "--wait", "retry", "") == ["slow"]
    assert await complete("delete", "--message", "too slow", "retry", "s") == ["slow"]
    assert await complete("restart", "o") == ["orders"]
    assert await complete("restart", "--state", "/nowhere", "o") == []
    assert await complete("logs", "orders", "f") == ["front"]
    assert await complete("scale", "o") == ["orders="]
    assert await complete("authz", "check", "--from", "f") == ["front"]
    assert await complete("rollback", "") == ["1"]
    assert len(await complete("token", "revoke", "") or []) == 1


async def test_a_context_is_completed_and_decides_which_mesh_names_are_of(
    live: FakeMesh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MESH_STATE", str(tmp_path / "nothing"))
    monkeypatch.setenv("MESH_CONTEXT", "")
    (tmp_path / "meshwright").mkdir(mode=0o700)
    contexts = Contexts(contexts={"shop": NamedMesh(state=str(live.state))})
    (tmp_path / "meshwright/contexts.json").write_text(contexts.to_json())
    assert await complete("context", "use", "s") == ["shop"]
    assert await complete("restart", "o") == []
    assert await complete("--context", "shop", "restart", "o") == ["orders"]


async def test_a_candidate_is_one_line(live: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(answer.main, ["show", "1"]) == 0
    assert capsys.readouterr().out.endswith("\n1\ttry this\n")


def test_nothing_is_imported_that_a_tab_should_not_wait_for() -> None:
    listing = "import sys, meshwright.cli.completion.answer; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, timeout=120, check=True
    )
    assert not {"typer", "pydantic", "asyncio", "rich"} & set(ran.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh"])
async def test_a_line_is_completed_in_a_terminal(live: FakeMesh, tmp_path: Path, shell: str) -> None:
    """`script` gives the shell a terminal; what is typed ahead waits in it."""
    command, setup = SETUP[shell]
    (tmp_path / "mesh.sh").write_text(script(shell, sys.executable))
    (tmp_path / "policies.yaml").touch()
    lines = [
        setup,
        SHOW_WORDS,
        "source ./mesh.sh",
        "mesh resta\to\t",
        "mesh get --outp\t j\t",
        "mesh edit retr\t sl\t",
        "mesh scale or\t3",
        "mesh apply -f pol\t",
        "mesh 'and $(more' \t",
        "exit",
    ]
    output = await asyncio.to_thread(_typed, command, lines, tmp_path)
    for words in (
        "<restart><orders>",
        "<get><--output><json>",
        "<edit><retry><slow>",
        "<scale><orders=3>",
        "<apply><-f><policies.yaml>",
        "<and $(more>",
    ):
        assert f"{words}" in output, output


def _typed(command: str, lines: list[str], folder: Path) -> str:
    """What a terminal shows when these lines are typed in it."""
    ran = subprocess.run(
        ["script", "-qec", command, "/dev/null"],  # noqa: S607
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**os.environ, "TERM": "dumb", "ZDOTDIR": str(folder)},
        check=False,
    )
    return ran.stdout


async def test_fish_completes_a_line(live: FakeMesh, tmp_path: Path) -> None:
    (tmp_path / "mesh.fish").write_text(script("fish", sys.executable))
    (tmp_path / "policies.yaml").touch()
    lines = ("mesh restart o", "mesh history --output=j", "mesh show 1", "mesh apply -f pol")
    completions = "; ".join(f"complete -C '{line}'" for line in lines)
    ran = await asyncio.to_thread(
        subprocess.run,
        ["fish", "--no-config", "-c", f"source mesh.fish; {completions}"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert ran.stdout.splitlines() == ["orders", "--output=json", "1\ttry this", "policies.yaml"], ran.stderr
