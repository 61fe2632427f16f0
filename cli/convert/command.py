"""`mesh convert`: another mesh's configuration as policies of ours."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshwright.cli.documents import SUFFIXES, read_texts
from meshwright.cli.errors import CommandError, warn
from meshwright.cli.output import echo
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.errors import InputError

if TYPE_CHECKING:
    from meshwright.cli.convert.conversion import Conversion

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


_Paths = Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, or - for stdin.")]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Write a file for each document to this folder. [default: stdout]",
    ),
]
_Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 1 if a field is not converted.")]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
_ApplicationFile = Annotated[
    Path | None,
    typer.Option(
        "--application",
        metavar="FILE",
        help="Write services, gateways and `outbound` to this application file.",
    ),
]


@app.callback()
def group() -> None:
    """Convert another mesh's configuration to policies.

    \b
    Example:
      mesh convert istio istio/ > policies.yaml
      mesh convert kuma kuma/ -o policies/
      mesh convert consul entries/ -o policies/
    """


@app.command("istio", cls=MeshCommand)
def convert_istio(
    paths: _Paths,
    *,
    output: _Output = None,
    application: _ApplicationFile = None,
    strict: _Strict = False,
    force: _Force = False,
) -> None:
    """Convert Istio's routing, security, gateways, hosts outside and telemetry, and Kubernetes' Ingress.

    Kubernetes' Services, and what a Sidecar says about calls outside, go to an application file. What is
    not converted is named on stderr with its line and column; a line with `note:` says what works
    differently. Review both, then `mesh diff` the result.

    \b
    Example:
      mesh convert istio istio/ > policies.yaml
      mesh convert istio istio/ -o policies/ --application application.yaml
      kubectl get services,ingresses,virtualservices -o yaml | mesh convert istio - --strict
    """
    from meshwright.cli.convert.istio.conversion import convert

    target = _Destination(output, force=force, application=application)
    _report(convert(read_texts(paths)), target, strict=strict)


@app.command("kuma", cls=MeshCommand)
def convert_kuma(
    paths: _Paths, *, output: _Output = None, strict: _Strict = False, force: _Force = False
) -> None:
    """Convert Kuma's policies: routes, retries, timeouts, breakers, probes, faults, limits, permissions.

    Both forms are read, that of universal (`type`) and that of Kubernetes (`kind`). What is not converted is
    named on stderr with its line and column; a line with `note:` says what works differently.

    \b
    Example:
      mesh convert kuma kuma/ -o policies/
      kumactl get meshtimeouts -o yaml | mesh convert kuma -
    """
    from meshwright.cli.convert.kuma.conversion import convert

    _report(convert(read_texts(paths)), _Destination(output, force=force), strict=strict)


@app.command("consul", cls=MeshCommand)
def convert_consul(
    paths: _Paths, *, output: _Output = None, strict: _Strict = False, force: _Force = False
) -> None:
    """Convert Consul's config entries: router, splitter, resolver, defaults, intentions, proxy-defaults.

    They are read in HCL, in JSON as `consul config read` writes it, and in the form of Kubernetes. What is
    not converted is named on stderr with its line and column; a line with `note:` says what works
    differently.

    \b
    Example:
      mesh convert consul entries/ -o policies/
      consul config read -kind service-router -name orders | mesh convert consul -
    """
    from meshwright.cli.convert.consul.conversion import convert

    texts = read_texts(paths, suffixes=(*SUFFIXES, ".hcl"))
    _report(convert(texts), _Destination(output, force=force), strict=strict)


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where the result goes: a folder or stdout, and an application file or none."""

    folder: Path | None
    _: KW_ONLY
    force: bool
    application: Path | None = None


def _report(result: Conversion, target: _Destination, *, strict: bool) -> None:
    """Write the documents, and say what there is to say about them."""
    if result.invalid:
        raise InputError("\n".join(map(str, result.invalid)))
    lost = len([remark for remark in result.remarks if not remark.note])
    for remark in result.remarks:
        warn(str(remark))
    if target.application is None and result.application.is_lost_without_file:
        lost += 1
        warn("services and calls outside belong into an application file: write it by --application FILE")
    files = _files(result, target)
    _check_absent(files, force=target.force)
    if target.folder is None and result.documents:
        echo(dump_yaml(result.documents))
    _write(files)
    count, notes = len(result.documents), len([remark for remark in result.remarks if remark.note])
    documents = f"{count} document{'' if count == 1 else 's'}"
    warn(f"{documents} written, {lost} not converted, {notes} notes")
    if strict and lost:
        raise typer.Exit(errors.FAILED)


def _files(result: Conversion, target: _Destination) -> dict[Path, str]:
    """The files to write: one for each document, named after kind and name, and the application."""
    files: dict[Path, str] = {}
    if target.folder is not None:
        for document in result.documents:
            name = f"{document['kind'].lower()}-{document['metadata']['name']}.yaml"
            files[target.folder / name] = dump_yaml([document])
    if target.application is not None:
        folder = target.folder and os.path.relpath(target.folder, target.application.parent)
        if application := result.application.document(f"{folder}/" if folder else ""):
            files[target.application] = dump_yaml([application])
    return files


def _check_absent(files: Iterable[Path], *, force: bool) -> None:
    """Raise InputError if a file exists and is not to be overwritten."""
    existing = [] if force else [path for path in sorted(files) if path.exists()]
    if existing:
        raise InputError(
            "\n".join(f"{path}: already exists: use --force to overwrite it" for path in existing)
        )


def _write(files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise CommandError(errors.FAILED, f"{path}: cannot be written: {reason}") from None
        echo(str(path))
