"""The list of exposed messages contains no unused name."""

from __future__ import annotations

import re
from pathlib import Path

from meshwright.control_plane.envoy.messages import ENUMS, MESSAGES

ROOT = Path(__file__).resolve().parents[3]


def test_every_exposed_name_is_used() -> None:
    used: set[str] = set()
    for folder in ("control_plane", "tests", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            used.update(re.findall(r"\bv3\.([A-Z]\w*)", path.read_text(encoding="utf-8")))
    assert sorted({*MESSAGES, *ENUMS} - used) == []
