"""`mesh grafana|prometheus|systemd export DIR`: write the configuration files in this package.

`mesh export`, which writes policies, is gitops/export.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.errors import CommandError
from meshwright.cli.options import Output, OutputOption
from meshwright.cli.output import echo, print_data
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api import errors
from meshwright.control_plane.errors import InputError

DirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder to write to. It is created if it does not exist.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


def _group() -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


grafana, prometheus, systemd = _group(), _group(), _group()


@grafana.callback()
def grafana_group() -> None:
    """Export the Grafana dashboards.

    \b
    Example:
      mesh grafana export grafana/
    """


@grafana.command("export", cls=MeshCommand)
def export_grafana(
    directory: DirectoryArgument, force: ForceOption = False, output: OutputOption = Output.table
) -> None:
    """Write the dashboards and the provisioning of Grafana.

    Mount provisioning/ as /etc/grafana/provisioning, and dashboards/ at the path named in
    provisioning/dashboards/mesh.yaml.

    \b
    Example:
      mesh grafana export grafana/
    """
    root = resources.files("meshwright.dashboards")
    boards = {f"dashboards/{entry.name}": entry for entry in root.iterdir() if entry.name.endswith(".json")}
    provisioning = dict(_files(root / "provisioning", "provisioning"))
    _export({**boards, **provisioning}, directory, force=force, output=output)


@prometheus.callback()
def prometheus_group() -> None:
    """Export the Prometheus rules and a scrape configuration.

    \b
    Example:
      mesh prometheus export prometheus/
    """


@prometheus.command("export", cls=MeshCommand)
def export_prometheus(
    directory: DirectoryArgument, force: ForceOption = False, output: OutputOption = Output.table
) -> None:
    """Write the recording and alerting rules, and an example prometheus.yml that discovers the mesh.

    Adapt rule_files, the address of the control plane and the token file in prometheus.yml.

    \b
    Example:
      mesh prometheus export prometheus/
    """
    rules = resources.files("meshwright.dashboards") / "rules"
    files = {f"rules/{entry.name}": entry for entry in rules.iterdir() if entry.name.endswith(".yml")}
    scrape = resources.files("meshwright.deploy") / "prometheus" / "prometheus.yml"
    _export({**files, "prometheus.yml": scrape}, directory, force=force, output=output)


@systemd.callback()
def systemd_group() -> None:
    """Export the systemd units.

    \b
    Example:
      mesh systemd export units/
    """


@systemd.command("export", cls=MeshCommand)
def export_systemd(
    directory: DirectoryArgument, force: ForceOption = False, output: OutputOption = Output.table
) -> None:
    """Write the units of the control plane and of agents, with examples of their settings.

    \b
    Example:
      mesh systemd export units/
    """
    units = resources.files("meshwright.deploy") / "systemd"
    _export(dict(_files(units, "")), directory, force=force, output=output)


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    """Every file of a folder and its subfolders, by its path below `prefix`."""
    for entry in folder.iterdir():
        path = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.is_dir():
            yield from _files(entry, path)
        elif not entry.name.endswith((".py", ".pyc")):
            yield path, entry


def _export(files: dict[str, Traversable], directory: Path, *, force: bool, output: Output) -> None:
    """Write all files or, if some exist and `force` is not set, none; print their paths."""
    contents = {directory / path: source.read_bytes() for path, source in sorted(files.items())}
    if not force:
        check_absent(contents)
    write_files(contents)
    if output is Output.table:
        echo("\n".join(map(str, contents)))
    else:
        print_data({"files": [str(target) for target in contents]}, output)


def check_absent(contents: Mapping[Path, bytes]) -> None:
    """Raise InputError, a line for each, if files exist whose content is another."""
    existing = [path for path, content in contents.items() if path.exists() and _read(path) != content]
    if existing:
        lines = [f"{path}: already exists: use --force to overwrite it" for path in existing]
        raise InputError("\n".join(lines))


def _read(path: Path) -> bytes | None:
    """The content of a file; None if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files and the folders that they need; raises CommandError."""
    for target, content in contents.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise CommandError(errors.FAILED, f"{target}: cannot be written: {reason}") from None
