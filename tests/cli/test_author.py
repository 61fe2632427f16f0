"""The author of a change is useful everywhere: on a machine, with sudo, in a container."""

from __future__ import annotations

import getpass
import os
import socket

import pytest

from meshwright.cli import options

HOST = socket.gethostname()


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """A root shell without variables that name a user."""
    for name in ("MESH_AUTHOR", "SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_author_is_the_user_at_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert options.author() == f"ada@{HOST}"


def test_author_with_sudo_is_the_user_who_called_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setenv("SUDO_USER", "ada")
    assert options.author() == f"ada@{HOST}"


def test_author_of_another_user_ignores_an_inherited_sudo_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("LOGNAME", "mesh")
    monkeypatch.setenv("SUDO_USER", "ada")
    assert options.author() == f"mesh@{HOST}"


@pytest.mark.parametrize("error", [OSError, KeyError])  # from Python 3.13 on, and before
def test_author_of_a_uid_without_a_name_is_its_number(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def unnamed() -> str:
        raise error("uid not found: 1234")

    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(getpass, "getuser", unnamed)
    assert options.author() == f"uid-1234@{HOST}"


def test_author_setting_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setenv("MESH_AUTHOR", "grace, by the pipeline")
    assert options.author() == "grace, by the pipeline"
    monkeypatch.setenv("MESH_AUTHOR", "x" * 300)
    assert len(options.author()) == 200
