"""The dashboards as the files that Grafana reads.

python -m meshwright.dashboards.build            # writes dashboards/*.json
python -m meshwright.dashboards.build --check    # 1 when one differs from what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from meshwright.dashboards.queries import boards, text

FOLDER = Path(__file__).parent


def files() -> dict[str, str]:
    """What each file has to have, by its name."""
    return {f"{uid}.json": text(board) for uid, board in boards().items()}


def different(folder: Path) -> list[str]:
    """Names of files in `folder` that are not as they have to be, missing or too many."""
    expected = files()
    values = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in {*expected, *values} if expected.get(name) != values.get(name))


def main(argv: list[str], folder: Path = FOLDER) -> int:
    """Write the dashboards, or with --check tell which differ."""
    texts = different(folder)
    if "--check" in argv:
        for name in texts:
            sys.stderr.write(f"dashboards/{name} is not what build.py makes: run it again\n")
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
