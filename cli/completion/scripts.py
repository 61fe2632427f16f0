"""`mesh completion`: the script that makes a shell complete `mesh`."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from importlib.resources import files
from typing import Annotated

import typer

from meshwright.cli.output import echo


class Shell(StrEnum):
    """A shell that `mesh` has completion for; its script is the file mesh.SHELL."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that completes commands, options and the names of a running mesh.

    \b
    Example:
      echo 'source <(mesh completion bash)' >> ~/.bashrc
      echo 'source <(mesh completion zsh)' >> ~/.zshrc
      mesh completion fish > ~/.config/fish/completions/mesh.fish
    """
    echo(script(shell, sys.executable))


def script(shell: str, python: str) -> str:
    """The script of a shell, which asks `meshwright.cli.completion.answer` of an interpreter.

    Not `mesh` itself: importing typer takes longer than the whole answer.
    """
    text = (files("meshwright.cli.completion") / f"mesh.{shell}").read_text(encoding="utf-8")
    return text.replace("PYTHON", shlex.quote(python)).rstrip("\n")
