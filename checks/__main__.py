"""`python -m checks`: prints each broken rule as `path:line: message`; exit code 1 if there is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from checks import circles, class_names, purity, signs, sizes, words
from checks.source import PRODUCT, Problem, read_tree

ROOT = Path(__file__).resolve().parents[1]
NAMED = ("tests", "bench")
TEXTS = ("*.md", "docs/**/*.md", "dashboards/**/*.json", "dashboards/**/*.yml", "deploy/**/*.service")


def problems(root: Path) -> Iterator[Problem]:
    """Every broken rule of the tree at `root`."""
    product = read_tree(root, PRODUCT)
    everything = [*product, *read_tree(root, NAMED)]
    yield from purity.check(product)
    yield from sizes.check(everything)
    yield from class_names.check(product)
    yield from words.check(everything)
    for pattern in TEXTS:
        for path in sorted(root.glob(pattern)):
            yield from words.check_text(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    yield from signs.check(file for file in product if file.path.startswith(signs.SHOWN))
    yield from circles.check_package()


def main() -> int:
    """Print the problems."""
    lines = [str(problem) for problem in problems(ROOT)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
