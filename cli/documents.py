"""Policy files as users name them: files, folders, or `-` for stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from meshwright.cli.errors import warn
from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.api.errors import ApiError
from meshwright.control_plane.api.yaml.source_map import locate
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies import loader
from meshwright.control_plane.policies.schema import dump

SUFFIXES = (".yaml", ".yml", ".json")

READ_LIMIT = 64 * 1024 * 1024
"""Maximum bytes read of one file: above what the control plane accepts, so that its error names the size."""

STDIN = "<stdin>"


class InvalidFilesError(InputError):
    """What is wrong in files, each with its position; its message has a line for each."""

    def __init__(self, problems: tuple[loader.DocumentProblem, ...]) -> None:
        super().__init__("\n".join(_problem_text(str(problem)) for problem in problems))
        self.problems = problems


NOT_A_POLICY = {
    "Application": "an Application is not a policy: start it with `mesh up -f FILE`",
    "PolicyTest": "a PolicyTest is not a policy: run it with `mesh test FILE`, and keep it in another folder",
}
"""What to do with a file of the command line, by its kind."""


def load_documents(
    paths: Iterable[str], *, skip_unknown: bool = False, verbose: bool = False
) -> list[SourcedDocument]:
    """The documents of files and folders as the API takes them; raises InputError, a line per problem."""
    return sourced(read_documents(paths, skip_unknown=skip_unknown, verbose=verbose))


def sourced(loaded: loader.LoadResult) -> list[SourcedDocument]:
    """Documents as the API takes them."""
    return [SourcedDocument(dump(item.policy), f"{item.path}:{item.line}") for item in loaded.documents]


def check_labels(loaded: loader.LoadResult, labels: Mapping[str, str]) -> None:
    """Raise InputError, a line for each, for documents that lack one of these labels."""
    lines = [
        f"{item.path}:{item.line}: metadata.labels has no {key}: {value}: add it, for --prune is about it"
        for item in loaded.documents
        for key, value in labels.items()
        if item.policy.metadata.labels.get(key) != value
    ]
    if lines:
        raise InputError("\n".join(lines))


@contextmanager
def located(loaded: loader.LoadResult) -> Iterator[None]:
    """Give problems that the API finds in these documents the positions of the fields that they name."""
    try:
        yield
    except ApiError as error:
        problems = tuple(
            locate(problem, (item.node for item in loaded.documents if item.path == problem.path))
            for problem in error.problems
        )
        raise ApiError(error.status, error.code, str(error), problems) from None


def read_documents(
    paths: Iterable[str],
    *,
    allowed_kinds: loader.KindMap | None = None,
    skip_unknown: bool = False,
    verbose: bool = False,
) -> loader.LoadResult:
    """The parsed documents with their positions; raises InvalidFilesError, or InputError for unreadable ones.

    `allowed_kinds`: all kinds of policies unless given. With `skip_unknown`, documents of foreign kinds are
    skipped, each with a line on stderr. With `verbose`, so is each field that is ignored.
    """
    loaded = parse_documents(read_files(paths), allowed_kinds, skip_unknown=skip_unknown)
    if verbose:
        from meshwright.control_plane.policies.ignored_fields import ignored_fields

        for policy in loaded.documents:
            for field in ignored_fields(policy):
                warn(str(field))
    return loaded


def read_files(paths: Iterable[str]) -> list[tuple[str, bytes]]:
    """Name and bytes of the files behind paths; raises InputError for what cannot be read, or without any."""
    paths = list(paths)
    if not paths:
        raise InputError("no input: give -f with a file, a folder, or - for stdin")
    return [(name, data) for path in paths for name, data in _read_path(path)]


def parse_documents(
    files: Iterable[tuple[str, bytes]],
    allowed_kinds: loader.KindMap | None = None,
    *,
    skip_unknown: bool = False,
    read_file: loader.ReadFile | None = None,
) -> loader.LoadResult:
    """The documents of files (see `read_documents`); raises InvalidFilesError.

    `read_file` reads the files that documents name; None: `read_named_file`.
    """
    loaded = loader.load_files(
        files, allowed_kinds, skip_unknown=skip_unknown, read_file=read_file or read_named_file
    )
    if loaded.problems:
        raise InvalidFilesError(loaded.problems)
    for document in loaded.skipped:
        warn(str(document))
    return loaded


def read_texts(paths: Iterable[str], suffixes: tuple[str, ...] = SUFFIXES) -> list[tuple[str, str]]:
    """Path and text of the files behind paths; raises InputError for those that cannot be read."""
    result = []
    for path, content in (entry for name in paths for entry in _read_path(name, suffixes)):
        if len(content) > loader.MAX_BYTES:
            raise InputError(f"{path}:1:1: the file is larger than {loader.MAX_BYTES >> 20} MiB: split it")
        try:
            result.append((path, content.decode("utf-8-sig")))
        except UnicodeDecodeError:
            raise InputError(f"{path}:1:1: not text in UTF-8") from None
    return result


def _problem_text(problem: str) -> str:
    """The problem, or better advice if the document is a file of the command line."""
    for kind, advice in NOT_A_POLICY.items():
        position, matches, _ = problem.partition(f"kind: {kind!r} is unknown")
        if matches:
            return f"{position}{advice}"
    return problem


def _read_path(path: str, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file behind a path."""
    if path == "-":
        yield STDIN, _read_limited(sys.stdin.buffer)
        return
    for file in _files(Path(path), suffixes):
        try:
            with file.open("rb") as opened:
                content = _read_limited(opened)
        except OSError as error:
            raise _unreadable(file, error) from None
        yield str(file), content


def read_named_file(document: str, name: str, limit: int) -> str:
    """The content of a file that a document names, relative to the document's own; as `loader.ReadFile`."""
    folder = Path() if document == STDIN else Path(document).parent
    path = folder / name
    try:
        with path.open("rb") as opened:
            content = opened.read(limit + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or type(error).__name__).lower()}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not text in UTF-8") from None
    if len(content) > limit:
        raise ValueError(f"{path}: larger than {limit // 1024} KiB")
    return text


def _files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        files = sorted(entry for entry in path.iterdir() if entry.suffix in suffixes and not entry.is_dir())
    except OSError as error:
        raise _unreadable(path, error) from None
    if not files:
        raise InputError(f"{path}: contains no {', '.join('*' + suffix for suffix in suffixes)} files")
    return files


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: {(error.strerror or type(error).__name__).lower()}")


def _read_limited(file: BinaryIO) -> bytes:
    return file.read(READ_LIMIT)
