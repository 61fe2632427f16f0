"""Write the dashboards as the files that Grafana reads.

python -m meshwright.dashboards.build            # writes dashboards/*.json
python -m meshwright.dashboards.build --check    # exits with 1 if a file is stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from meshwright.dashboards.queries import boards, text

FOLDER = Path(__file__).parent


def files() -> dict[str, str]:
    """The text of each file, by name."""
    return {f"{uid}.json": text(board) for uid, board in boards().items()}


def stale_files(folder: Path) -> list[str]:
    """Names of files in `folder` that are stale, missing or obsolete."""
    expected = files()
    values = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in {*expected, *values} if expected.get(name) != values.get(name))


def main(argv: list[str], folder: Path = FOLDER) -> int:
    """Write the dashboards, or with --check name the stale files."""
    texts = stale_files(folder)
    if "--check" in argv:
        for name in texts:
            sys.stderr.write(f"dashboards/{name} is stale: run python -m meshwright.dashboards.build\n")
        return 1 if texts else 0
    expected = files()
    for name in texts:
        if name in expected:
            (folder / name).write_text(expected[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
