"""`mesh support-bundle`: one file for whoever helps."""

from __future__ import annotations

import json
import os
import time
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.errors import warn
from meshwright.cli.options import StateOption
from meshwright.cli.output import SIGNS, echo
from meshwright.cli.support_bundle.archive import MAX_ENTRY, BundleArchive, bundle_archive
from meshwright.cli.support_bundle.contents import (
    MAX_PROXIES,
    host_entries,
    mesh_entries,
    proxies_to_include,
    proxy_entries,
)
from meshwright.cli.support_bundle.known_secrets import known_secrets
from meshwright.cli.support_bundle.redaction import Redaction
from meshwright.control_plane.api import mesh_locator

MAX_FAILURES_SHOWN = 5


def support_bundle(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The file to write. [default: mesh-support-TIME.tar.gz]")
    ] = "",
    state: StateOption = None,
) -> None:
    """Write what somebody needs to help into one tar.gz: status, policies, logs, versions and more.

    Of the mesh: status, topology, policies, history, events, failed requests, versions. Of each proxy, of 40
    at most, those with problems first: Envoy's configuration and statistics, the ends of its log and of the
    app's. Of this host: system, `mesh doctor`, logs. It works without a control plane, with less.

    Keys, tokens, passwords, secrets of policies and what looks like one are redacted; service names, paths,
    addresses and what apps log are not. The file is readable by you alone: look at it before you send it.

    \b
    Example:
      mesh support-bundle
      mesh support-bundle /tmp/orders.tar.gz && tar -tzf /tmp/orders.tar.gz
    """
    path = Path(file or time.strftime("mesh-support-%Y%m%d-%H%M%S.tar.gz"))
    folder = mesh_locator.state_dir(os.environ, state)
    redaction = Redaction(known_secrets(folder, os.environ))
    with bundle_archive(path, redaction) as archive:
        names = _fill(archive, folder, state)
        _add_manifest(archive, names)
    echo(f"{SIGNS['good']} {path}: {path.stat().st_size / 1_048_576:.1f} MiB, {len(names)} files, mode 0600")
    failed = [name for name in names if name.endswith(".error.txt")]
    if failed:
        shown = ", ".join(name.removesuffix(".error.txt") for name in failed[:MAX_FAILURES_SHOWN])
        more = ", ..." if len(failed) > MAX_FAILURES_SHOWN else ""
        warn(f"{len(failed)} files could not be had, and say why: {shown}{more}")


def _fill(archive: BundleArchive, folder: Path, state: Path | None) -> list[str]:
    """Add everything; returns the names."""
    names = []
    proxies = proxies_to_include(state)
    archive.left_out += [f"proxies/{name.replace('/', '.')}" for name in proxies[MAX_PROXIES:]]
    entries = chain(
        host_entries(folder, state, every_log=not proxies),
        mesh_entries(state),
        proxy_entries(proxies[:MAX_PROXIES], state),
    )
    for name, text in entries:
        archive.add(name, text)
        names.append(name)
    return names


def _add_manifest(archive: BundleArchive, names: list[str]) -> None:
    manifest = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": names,
        "left_out": archive.left_out,
        "shortened": {"limit": MAX_ENTRY, "files": archive.shortened},
    }
    archive.add("manifest.json", json.dumps(manifest, indent=1))
