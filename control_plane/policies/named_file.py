"""Files that a document names: `mesh apply` puts their content into the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationInfo

FILE_DESCRIPTION = (
    "A file with the content, relative to the policy's own. `mesh apply` reads it and stores the content, so "
    "apply again when the file has changed."
)


def read_named_file(value: Any, info: ValidationInfo, max_bytes: int) -> Any:
    """A source with the content of its `file` as `inline`, where the caller can read files.

    `value` is what the document has; without a `file` it is left as it is.
    """
    read = (info.context or {}).get("read_file")
    if read is None or not isinstance(value, Mapping) or not isinstance(value.get("file"), str):
        return value
    others = {name: member for name, member in value.items() if name != "file"}
    return others | {"inline": read(value["file"], max_bytes)}
