"""Write docs/reference.md from the code: `python -m checks.reference [--check]`.

Commands, exit codes, policy kinds, settings, ports and limits are facts of the code. The page repeats them,
as does the tree of commands that shell completion reads; docs/convert-istio.md and its like list
the fields of other meshes' documents, docs/consul-api.md what is served of Consul's API, docs/dashboard.md
the keys of the dashboard. `--check` fails if one of the files differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

from checks import command_tree, consul_page
from meshwright.cli import application
from meshwright.cli.convert import table
from meshwright.cli.exit_codes import EXIT_CODES
from meshwright.cli.main import COMMANDS
from meshwright.cli.settings import COMMAND_SETTINGS
from meshwright.control_plane.admin import server as admin
from meshwright.control_plane.api import header_limits
from meshwright.control_plane.api.models.policies import DOCUMENTS_LIMIT
from meshwright.control_plane.api.yaml import parser as yaml
from meshwright.control_plane.ca import token_signing
from meshwright.control_plane.config import Settings
from meshwright.control_plane.policies import loader, re2
from meshwright.control_plane.policies.base import Policy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.telemetry.export import queue as export
from meshwright.control_plane.telemetry.ingest import queue as ingest
from meshwright.control_plane.telemetry.traces import store as traces
from meshwright.sidecar import supervisor
from meshwright.sidecar.bootstrap import document
from meshwright.sidecar.ports import FIRST_PORT, LAST_PORT
from meshwright.tui import keys

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"

DASHBOARD = PAGE.with_name("dashboard.md")
KEYS_START, KEYS_END = "<!-- keys: written by `make reference` -->", "<!-- end of keys -->"

HEAD = """# Reference

`python -m checks.reference` generates this page from the code.
"""

PRECEDENCE = """
*override*: the most specific policy applies; fields are not merged. From most to least specific: rule of a
route, route, service with `from`, service, listener, gateway, mesh. Between two of equal rank the older one
applies, and `mesh status` shows the other as Conflicted. *all*: every policy applies. *resource*: it is a
route, or something that routes refer to. `mesh schema KIND --explain` documents every field and prints an
example.
"""


def convert_page(source: str) -> Path:
    """The page with the fields of what `mesh convert SOURCE` reads."""
    return PAGE.with_name(f"convert-{source}.md")


def page() -> str:
    """The text of docs/reference.md."""
    sections = [
        _section("Commands", "`mesh COMMAND --help` lists the options and an example.", _commands()),
        _section(
            "Exit codes", "Problems go to stderr, one line each: `path:line:column: message`.", _exit_codes()
        ),
        _section("Policy kinds", PRECEDENCE.strip(), _kinds()),
        _section("Settings", "Environment variables, read at start. Times are in seconds.", _settings()),
        _section(
            "Ports",
            "A port in use is named at start, with its setting and the process that has it.",
            _ports(),
        ),
        _section("Limits", "", _limits()),
    ]
    return HEAD + "".join(sections)


def _section(title: str, text: str, rows: Iterable[Sequence[str]]) -> str:
    head, *body = rows
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, body)]
    return f"\n## {title}\n\n" + (f"{text}\n\n" if text else "") + "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _commands() -> Iterator[Sequence[str]]:
    yield "command", "does"
    for name, command in sorted(COMMANDS.items()):
        yield f"`mesh {name}`", command.summary


def _exit_codes() -> Iterator[Sequence[str]]:
    yield "code", "meaning"
    for code, meaning in sorted(EXIT_CODES.items()):
        yield str(code), meaning


def _kinds() -> Iterator[Sequence[str]]:
    yield "kind", "does", "targets", "combines by"
    for name, kind in kinds().items():
        yield f"`{name}`", _summary(kind), ", ".join(_targets(kind)), kind.combine


def _targets(kind: type[Policy]) -> Iterator[str]:
    """What a policy of this kind may be attached to."""
    spec = kind.model_fields["spec"].annotation
    if not (isinstance(spec, type) and issubclass(spec, TargetedSpec)):
        return
    for target in get_args(TargetKind):
        if target in spec.target_kinds:
            yield f"`{target}`"
        if target == "Gateway" and spec.gateway_sections:
            yield "listener"


def _summary(kind: type[Policy]) -> str:
    first = (kind.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(first.split())


def _settings() -> Iterator[Sequence[str]]:
    yield "setting", "default", "meaning"
    for setting in fields(Settings):
        default = "./.mesh" if setting.default is MISSING else f"{setting.default}".removesuffix(".0")
        yield (
            f"`MESH_{setting.name.upper()}`",
            f"`{default}`" if default else "",
            setting.metadata["description"],
        )
    for command_setting in COMMAND_SETTINGS:
        yield f"`{command_setting.name}`", command_setting.default, command_setting.description


def _ports() -> Iterator[Sequence[str]]:
    defaults = Settings(Path())
    yield "port", "serves", "change it with"
    yield (
        "8080",
        "the ingress, plain HTTP",
        "`mesh up --port ingress=N`, or the gateway's port in the application file",
    )
    yield (
        f"{defaults.admin_port}",
        "the admin API, `/metrics`, `/healthz`, `/api/openapi.json`",
        "`MESH_ADMIN_PORT`",
    )
    yield f"{defaults.xds_port}", "xDS and agents", "`MESH_XDS_PORT`"
    yield f"{defaults.enrolment_port}", "enrolment", "`MESH_ENROLMENT_PORT`"
    yield f"{defaults.otlp_port}", "telemetry", "`MESH_OTLP_PORT`"
    yield "15081", "`mesh dash --web`, plain HTTP on loopback", "`--port`, `--bind`"
    yield (
        "15001, 15006, 15020",
        "outbound, inbound and ready port of `mesh agent`",
        "`--outbound-port`, `--inbound-port`, `--ready-port`",
    )
    yield (
        "8500, 8600",
        "Consul's HTTP API and DNS of `mesh consul`, on loopback",
        "`--http-port`, `--dns-port`",
    )
    yield (
        f"{FIRST_PORT}-{LAST_PORT}",
        "each sidecar's outbound, inbound and ready port, and apps with port 0; allocated once per instance",
        "",
    )


def _limits() -> Iterator[Sequence[str]]:
    yield "limit", "value"
    yield "a policy file", f"{_size(loader.MAX_BYTES)}, {yaml.MAX_ALIASES} aliases, {yaml.MAX_DEPTH} levels"
    yield "a request to the admin API", _size(admin.BODY_LIMIT)
    yield "headers of a request or response", f"{header_limits.MAX_HEADERS:,}, {header_limits.MAX_KIB} KiB"
    yield "documents of a mesh", f"{DOCUMENTS_LIMIT:,}"
    yield "replicas of one entry in the application file", str(application.MAX_REPLICAS)
    yield (
        "a regular expression",
        f"{re2.MAX_LENGTH} characters, {document.MAX_REGEX_PROGRAM_SIZE:,} instructions of RE2",
    )
    yield "lifetime of a join token", f"{token_signing.TTL_LIMIT / 86_400:g} days"
    yield "a telemetry message", _size(ingest.MAX_MESSAGE_BYTES)
    yield "queued telemetry of one identity", _size(ingest.MAX_QUEUED_BYTES_PER_IDENTITY)
    yield (
        "stored traces",
        f"{traces.MAX_TRACES:,}, {traces.MAX_SPANS_PER_TRACE:,} spans each, {_size(traces.MAX_BYTES)}",
    )
    yield "telemetry waiting to be forwarded", _size(export.MAX_BYTES)
    yield "a log file before it is rotated", _size(supervisor.MAX_LOG_BYTES)


def _size(count: int) -> str:
    mebibytes = count / (1 << 20)
    return f"{mebibytes:g} MiB"


def key_table() -> str:
    """docs/dashboard.md with the table of keys between its two marks."""
    text = DASHBOARD.read_text(encoding="utf-8")
    before, after = text.split(KEYS_START)[0], text.split(KEYS_END)[1]
    return "".join((before, KEYS_START, "\n", *(f"{line}\n" for line in keys.table()), KEYS_END, after))


def main(arguments: Sequence[str]) -> int:
    """Write the files, or compare them with `--check`."""
    stale = False
    tables = [(convert_page(source), table.page(source)) for source in table.SOURCES]
    tables.append((PAGE.with_name("consul-api.md"), consul_page.page()))
    texts = ((PAGE, page()), *tables, (command_tree.FILE, command_tree.text()), (DASHBOARD, key_table()))
    for path, text in texts:
        if list(arguments) != ["--check"]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale = True
            sys.stderr.write(f"{path} is stale: run python -m checks.reference\n")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
