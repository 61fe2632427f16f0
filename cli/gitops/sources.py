"""Where a sync reads policies: a folder, or a branch of a git repository by the `git` of this host.

Of a repository only the newest commit is fetched, into a bare one: there is no work tree, nothing is merged,
so a rewritten branch is a new version like any other, and no hook or filter of the repository runs.
"""

from __future__ import annotations

import os
import posixpath
import subprocess
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from meshwright.cli.gitops.tree import VERSION_LENGTH, Tree, content_version, is_policy_file
from meshwright.cli.options import author
from meshwright.control_plane.errors import InputError, MeshError

GIT_SECONDS = 120.0
"""How long one git command may take."""

MAX_BYTES = 64 << 20
"""Bytes of all policy files: what a mesh holds."""

MAX_OTHER_BYTES = 1 << 20
"""Bytes of a file that a policy names: more than any kind takes."""


REPOSITORY_VARIABLES = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}
)
"""Variables by which git, in a hook for instance, names another repository."""


class SourceError(MeshError):
    """The source cannot be read now; it may be later."""


class PolicySource(Protocol):
    """Reads the newest version."""

    shown: str
    """Its name for people, without credentials."""

    def read(self) -> Tree:
        """The newest version; raises SourceError."""
        ...


class FolderSource:
    """A folder and what is below it. Links are not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.shown = str(folder)

    def read(self) -> Tree:
        """What the folder holds now."""
        if not self._folder.is_dir():
            raise SourceError(f"{self.shown}: no such folder")
        try:
            files = {path: (self._folder / path).read_bytes() for path in self._paths()}
        except OSError as error:
            raise SourceError(f"{error.filename}: {(error.strerror or '').lower()}") from None
        _check_size(self.shown, sum(map(len, files.values())))
        return Tree(files, content_version(files), author(), f"changed in {self.shown}", self._read_other)

    def _paths(self) -> list[str]:
        paths: list[str] = []
        for folder, _, names in os.walk(self._folder):
            inside = Path(folder).relative_to(self._folder)
            paths += ((inside / name).as_posix() for name in names)
        return sorted(
            path for path in paths if is_policy_file(path) and not (self._folder / path).is_symlink()
        )

    def _read_other(self, path: str) -> bytes:
        file = (self._folder / path).resolve()
        if not file.is_relative_to(self._folder) or not file.is_file():
            raise FileNotFoundError(path)
        _check_other(path, file.stat().st_size)
        return file.read_bytes()


class GitSource:
    """A branch of a repository, or what its HEAD is; `path` is a folder in it. `store`: an empty folder."""

    def __init__(self, url: str, branch: str, path: str, store: Path) -> None:
        if url.startswith("-") or branch.startswith("-"):
            raise InputError("SOURCE and --branch cannot begin with -")
        self._url = str(Path(url).resolve()) if Path(url).is_dir() else url
        self._reference = f"refs/heads/{branch}" if branch else "HEAD"
        self._path = posixpath.normpath(path).strip("/") if path else ""
        self._store = store
        self.shown = _without_credentials(url) + (f" {branch}" if branch else "")
        self._git("init", "--quiet", "--bare", ".")

    def read(self) -> Tree:
        """The newest commit of the branch."""
        self._git(
            "fetch", "--quiet", "--no-tags", "--force", "--depth", "1", "--", self._url, self._reference
        )
        line = self._git("log", "-1", "--format=%H%x00%an <%ae>%x00%s", "FETCH_HEAD").decode(errors="replace")
        commit, name, subject = line.rstrip("\n").split("\0")
        blobs = self._blobs(commit)
        policy_blobs = {path: blob for path, (blob, _) in blobs.items() if is_policy_file(path)}
        _check_size(self.shown, sum(blobs[path][1] for path in policy_blobs))
        files = {path: self._git("cat-file", "blob", blob) for path, blob in policy_blobs.items()}

        def read_other(path: str) -> bytes:
            blob, size = blobs.get(path, ("", 0))
            if not blob:
                raise FileNotFoundError(path)
            _check_other(path, size)
            return self._git("cat-file", "blob", blob)

        return Tree(files, commit[:VERSION_LENGTH], name, subject, read_other)

    def _blobs(self, commit: str) -> dict[str, tuple[str, int]]:
        """Hash and size of the files below the path, without links and submodules."""
        blobs = {}
        tree = f"{commit}:{self._path}" if self._path else commit
        for entry in self._git("ls-tree", "-r", "-l", "-z", tree).decode(errors="replace").split("\0"):
            meta, _, path = entry.partition("\t")
            mode, kind, blob, size = meta.split() if meta else ("", "", "", "0")
            if kind == "blob" and mode != "120000":
                blobs[path] = (blob, int(size))
        return blobs

    def _git(self, *arguments: str) -> bytes:
        """What a git command prints; raises SourceError with its last line of complaint."""
        environment = {key: value for key, value in os.environ.items() if key not in REPOSITORY_VARIABLES}
        environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_DIR": str(self._store)}
        try:
            done = subprocess.run(
                ["git", *arguments],  # noqa: S607  the user's git, wherever it is
                cwd=self._store,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise InputError("git: not found: install it, or sync a folder") from None
        except subprocess.TimeoutExpired:
            raise SourceError(
                f"{self.shown}: git {arguments[0]} took longer than {GIT_SECONDS:g} s"
            ) from None
        if done.returncode:
            text = done.stderr.decode(errors="replace").replace(self._url, self.shown)
            lines = [line for line in text.splitlines() if line.strip()] or ["it says nothing"]
            fatal = next((line for line in lines if line.startswith("fatal: ")), lines[-1])
            raise SourceError(f"{self.shown}: git {arguments[0]}: {fatal.removeprefix('fatal: ')}")
        return done.stdout


def _check_size(shown: str, size: int) -> None:
    if size > MAX_BYTES:
        raise SourceError(f"{shown}: its policy files have {size >> 20} MiB, a mesh holds {MAX_BYTES >> 20}")


def _check_other(path: str, size: int) -> None:
    if size > MAX_OTHER_BYTES:
        raise ValueError(f"{path}: larger than {MAX_OTHER_BYTES >> 20} MiB")


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def is_repository(source: str) -> bool:
    """Whether a SOURCE is that of a repository, not a folder: a URL, `user@host:path`, or a bare one."""
    if "://" in source or source.endswith(".git"):
        return True
    return not Path(source).exists() and "@" in source.partition(":")[0] and ":" in source
