"""`mesh cert self-signed`: a certificate for a gateway, to try HTTPS before there is a real one."""

from __future__ import annotations

import os
import sys
import time
from ipaddress import ip_address
from typing import Annotated, Any

import typer

from meshwright.cli.durations import duration_parser
from meshwright.cli.options import StateOption
from meshwright.cli.output import echo
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

DAY = 86_400.0
MAX_LIFETIME = 398 * DAY
"""What browsers accept at most (CA/Browser Forum, "Baseline Requirements", 6.3.2, until March 2026)."""


@app.callback()
def cert() -> None:
    """Make certificates for gateways.

    \b
    Example:
      mesh cert self-signed shop --host shop.test | mesh apply -f -
    """


@app.command("self-signed", cls=MeshCommand)
def self_signed(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the Certificate.")],
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", metavar="HOST", help="Host name or address. Repeatable. [default: localhost, 127.0.0.1]"
        ),
    ] = None,
    lifetime: Annotated[
        float,
        typer.Option(
            "--for",
            metavar="DURATION",
            parser=duration_parser(60, MAX_LIFETIME),
            show_default=False,
            help="How long it is valid, at most 398d. [default: 90d]",
        ),
    ] = 90 * DAY,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    state: StateOption = None,
) -> None:
    """Write a self-signed certificate and its key, and print the Certificate document.

    The files are in the folder of certificates: $MESH_CERTIFICATES, or `certificates` in the state directory.
    Clients accept the certificate once they trust it: curl --cacert NAME.crt.

    \b
    Example:
      mesh cert self-signed shop --host shop.test --host "*.shop.test"
      mesh cert self-signed shop --host shop.test | mesh apply -f -
    """
    from meshwright.cli.self_signed import create
    from meshwright.control_plane.api.private_files import private_folder
    from meshwright.control_plane.api.yaml.dump import dump_yaml
    from meshwright.control_plane.config import read_settings
    from meshwright.sidecar.files import write_private

    document = _document(name)
    hosts = tuple(host or ("localhost", "127.0.0.1"))
    for item in hosts:
        _check_host(item)
    settings = read_settings(os.environ | ({"MESH_STATE": str(state)} if state else {}))
    paths = [settings.certificate_folder / file for file in document["spec"].values()]
    for path in paths:
        if path.exists() and not force:
            raise InputError(f"{path}: exists already: choose another name, or replace it with --force")
    private_folder(settings.certificate_folder)
    for path, content in zip(paths, create(hosts, time.time(), lifetime), strict=True):
        write_private(path, content)
    sys.stderr.write(f"wrote {' and '.join(map(str, paths))}\n")
    echo(dump_yaml([document]))


def _document(name: str) -> dict[str, Any]:
    """The Certificate document; raises InputError for a name that it cannot have."""
    from meshwright.control_plane.policies.registry import kinds

    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": "Certificate",
        "metadata": {"name": name},
        "spec": {"certificateFile": f"{name}.crt", "privateKeyFile": f"{name}.key"},
    }
    try:
        kinds()["Certificate"].model_validate(document)
    except ValueError:
        raise InputError(f"{name!r} is not a name: use lower-case letters, digits, - and .") from None
    return document


def _check_host(host: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from meshwright.control_plane.policies.field_types import Hostname

    try:
        ip_address(host)
    except ValueError:
        try:
            TypeAdapter(Hostname).validate_python(host)
        except ValidationError:
            raise InputError(f"--host: {host!r} is neither a host name nor an address") from None
