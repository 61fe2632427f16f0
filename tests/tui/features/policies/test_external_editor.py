"""The user's editor: which one, the draft, and failures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from meshwright.control_plane.errors import InputError
from meshwright.tui.features.policies import external_editor


def test_visual_overrides_editor_and_may_have_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "nano")
    monkeypatch.setenv("VISUAL", "code --wait 'a b'")
    assert external_editor.command() == ["code", "--wait", "a b"]
    monkeypatch.delenv("VISUAL")
    assert external_editor.command() == ["nano"]
    monkeypatch.setenv("EDITOR", "'unclosed")
    monkeypatch.setenv("PATH", "/nowhere")
    assert external_editor.command() == []


def test_a_draft_is_private_and_deleted_when_discarded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    draft = external_editor.new_draft("Retry-../../etc/ü", "kind: Ä\n")
    assert draft.is_relative_to(tmp_path)
    assert draft.parent.parent == tmp_path
    assert (draft.stat().st_mode & 0o777, draft.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert external_editor.read(draft) == "kind: Ä\n"
    external_editor.write(draft, "kind: B\n")
    assert external_editor.read(draft) == "kind: B\n"
    draft.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        external_editor.read(draft)
    external_editor.discard(draft)
    assert not draft.parent.exists()
    with pytest.raises(InputError, match="cannot read"):
        external_editor.read(draft)


def test_run_edits_the_draft_and_reports_failures(tmp_path: Path) -> None:
    draft = tmp_path / "a.yaml"
    draft.write_text("old")
    external_editor.run([sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write('new')"], draft)
    assert external_editor.read(draft) == "new"
    with pytest.raises(InputError, match="exited with code 3"):
        external_editor.run([sys.executable, "-c", "raise SystemExit(3)"], draft)
    with pytest.raises(InputError, match="does not start"):
        external_editor.run(["/nowhere/editor"], draft)
