"""The documentation of Envoy's own configuration, for `mesh schema envoy`: messages, fields and enums.

It is in the docstrings of envoy-data-plane, an optional package. Its modules are read, not imported: that
takes milliseconds in place of a second.
"""

from __future__ import annotations

import ast
import inspect
import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from meshwright.control_plane.errors import InputError

_PREFIXES = ("", "config.", "extensions.", "extensions.filters.", "type.", "service.")
"""What may be left out after `envoy.`: `core.v3.Cluster` is found as `envoy.config.core.v3.Cluster`."""


class _Message(NamedTuple):
    name: str
    node: ast.ClassDef


def explain(path: str) -> str:
    """The documentation of a message, enum or field such as `cluster.v3.Cluster.connect_timeout`.

    Raises InputError if there is none of this name, or if envoy-data-plane is not installed.
    """
    package, members = _split(path)
    message, rest = _find(package, members, path)
    fields = dict(_fields(message.node))
    if not rest:
        lines = [message.name, "", _plain(ast.get_docstring(message.node) or "No description."), ""]
        lines += [f"  {name}: {kind}" for name, (kind, _) in fields.items()]
        return "\n".join(lines).rstrip()
    if len(rest) > 1 or rest[0] not in fields:
        names = ", ".join(fields) or "none"
        raise InputError(f"{message.name} has no field {'.'.join(rest)}: it has {names}")
    kind, text = fields[rest[0]]
    return f"{message.name}.{rest[0]}: {kind}\n\n{_plain(text or 'No description.')}"


def _split(path: str) -> tuple[str, list[str]]:
    """The package and the names in it; the package ends with the version."""
    match = re.fullmatch(r"((?:[a-z0-9_]+\.)*v\d+[a-z0-9]*)\.([A-Za-z_]\w*(?:\.\w+)*)", path)
    if match is None:
        raise InputError(
            f"{path!r} is not a message or field of Envoy: write it like core.v3.Node or "
            "cluster.v3.Cluster.connect_timeout"
        )
    return match[1].removeprefix("envoy."), match[2].split(".")


def _find(package: str, members: list[str], path: str) -> tuple[_Message, list[str]]:
    """The message and the members after it. Nested messages are classes with joined names."""
    for prefix in _PREFIXES:
        file = _root() / "envoy" / Path(*f"{prefix}{package}".split(".")) / "__init__.py"
        if not file.is_file():
            continue
        classes = _classes(file)
        for end in range(len(members), 0, -1):
            node = classes.get("".join(members[:end]).lower())
            if node is not None:
                name = f"envoy.{prefix}{package}.{'.'.join(members[:end])}"
                return _Message(name, node), members[end:]
    raise InputError(f"Envoy has no {path}")


def _root() -> Path:
    spec = find_spec("envoy_data_plane")
    if spec is None or spec.origin is None:
        raise InputError("Envoy's documentation is an extra: pip install 'meshwright[schema]'")
    return Path(spec.origin).parent


def _classes(file: Path) -> dict[str, ast.ClassDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name.lower(): node for node in tree.body if isinstance(node, ast.ClassDef)}


def _fields(message: ast.ClassDef) -> list[tuple[str, tuple[str, str]]]:
    """The fields of a message or values of an enum, each with its type and description."""
    entries = []
    following = [*message.body[1:], None]
    for statement, after in zip(message.body, following, strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name, kind = statement.target.id, _type(ast.literal_eval(statement.annotation))
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name, kind = statement.targets[0].id, ast.unparse(statement.value)
        else:
            continue
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = inspect.cleandoc(str(after.value.value))
        entries.append((name, (kind, text)))
    return entries


def _plain(text: str) -> str:
    """The text without the markup of Envoy's pages."""
    text = re.sub(r":\w+:`([^<`]+?)\s*<[^>]+>`", r"\1", text)
    text = re.sub(r"\[#(?!not-implemented)[^\]]*\]\n?", "", text)
    return text.replace("``", "`").strip()


def _type(annotation: str) -> str:
    """`Duration` for the package's own notation of it."""
    plain = re.sub(r"typing\.Annotated\[(\w+), .*?\)\]", r"\1", annotation)
    plain = re.sub(r"_{2,}\w+__\.", "", plain)
    return plain.removesuffix(" | None").replace("datetime.timedelta", "Duration")
