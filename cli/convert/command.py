"""`mesh convert`: another mesh's configuration as policies of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.convert.consul.conversion import convert as convert_from_consul
from meshwright.cli.convert.conversion import Conversion
from meshwright.cli.convert.istio.conversion import convert as convert_from_istio
from meshwright.cli.convert.kuma.conversion import convert as convert_from_kuma
from meshwright.cli.convert.reading import Remark
from meshwright.cli.documents import SUFFIXES, read_texts
from meshwright.cli.errors import CommandError, warn
from meshwright.cli.output import echo
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.errors import InputError

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
    paths: _Paths, *, output: _Output = None, strict: _Strict = False, force: _Force = False
) -> None:
    """Convert Istio's routing, security, gateways, hosts outside and telemetry.

    What is not converted is named on stderr with its line and column; a line with `note:` says what works
    differently. Review both, then `mesh diff` the result.

    \b
    Example:
      mesh convert istio istio/ > policies.yaml
      mesh convert istio istio/ -o policies/ --strict
      kubectl get gateways.networking.istio.io,virtualservices -o yaml | mesh convert istio -
    """
    _report(convert_from_istio(read_texts(paths)), output, strict=strict, force=force)


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
    _report(convert_from_kuma(read_texts(paths)), output, strict=strict, force=force)


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
    texts = read_texts(paths, suffixes=(*SUFFIXES, ".hcl"))
    _report(convert_from_consul(texts), output, strict=strict, force=force)


def _report(result: Conversion, output: Path | None, *, strict: bool, force: bool) -> None:
    """Write the documents, and say what there is to say about them."""
    if result.invalid:
        raise InputError("\n".join(map(str, result.invalid)))
    for remark in result.remarks:
        warn(str(remark))
    if output is None:
        if result.documents:
            echo(dump_yaml(result.documents))
    else:
        _write(result, output, force=force)
    lost = [remark for remark in result.remarks if not remark.note]
    warn(_summary(result, lost))
    if strict and lost:
        raise typer.Exit(errors.FAILED)


def _summary(result: Conversion, lost: list[Remark]) -> str:
    count = len(result.documents)
    documents = f"{count} document{'' if count == 1 else 's'}"
    return f"{documents} written, {len(lost)} not converted, {len(result.remarks) - len(lost)} notes"


def _write(result: Conversion, folder: Path, *, force: bool) -> None:
    """A file for each document, named after kind and name; none if one exists and `force` is not set."""
    files = {
        folder / f"{document['kind'].lower()}-{document['metadata']['name']}.yaml": dump_yaml([document])
        for document in result.documents
    }
    existing = [path for path in sorted(files) if path.exists()]
    if existing and not force:
        raise InputError(
            "\n".join(f"{path}: already exists: use --force to overwrite it" for path in existing)
        )
    for path, text in files.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise CommandError(errors.FAILED, f"{path}: cannot be written: {reason}") from None
        echo(str(path))
