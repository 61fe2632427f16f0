"""What the site changes in the pages: MkDocs calls these (mkdocs.yml, `hooks`).

The first page is the README, and links to files of the repository lead there, so that the pages read the same
in a checkout, in the repository's web view and on the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the first page."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=linked(text, ".", config)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Lead links out of docs/ to the repository."""
    if page.file.src_uri == "index.md":
        return markdown
    return linked(markdown, posixpath.dirname(f"docs/{page.file.src_uri}"), config)


def linked(markdown: str, folder: str, config: MkDocsConfig) -> str:
    """A text of this folder of the repository with links as they are on the site."""
    on_site = folder.removeprefix("docs").removeprefix("/") or "."

    def replaced(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[1]))
        if path.startswith("docs/") and not (ROOT / path).is_dir():
            return f"]({posixpath.relpath(path.removeprefix('docs/'), on_site)}"
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"]({config.repo_url}/{kind}/main/{path}"

    return LINK.sub(replaced, markdown)
