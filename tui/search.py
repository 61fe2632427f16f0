"""What is typed after `/`, as a condition on texts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """Words that a text must contain, and words that it must not contain; all in lower case."""

    words: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.excluded)

    def matches(self, text: str) -> bool:
        """Whether a text has all words and none of the excluded; case is ignored."""
        if not self:
            return True
        lowered = text.lower()
        return all(word in lowered for word in self.words) and not any(
            word in lowered for word in self.excluded
        )


def parse_search(text: str) -> SearchQuery:
    """Parse a search line: words, and with `!` before them those that must not occur."""
    words = text.lower().split()
    return SearchQuery(
        tuple(word for word in words if not word.startswith("!")),
        tuple(word[1:] for word in words if word.startswith("!") and word != "!"),
    )


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as search looks at them: `key=value`."""
    return " ".join(f"{key}={value}" for key, value in labels.items())


def label_texts(labelled: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """The labels under each name, each label once."""
    texts: dict[str, dict[str, None]] = {}
    for name, labels in labelled:
        texts.setdefault(name, {})[label_text(labels)] = None
    return {name: " ".join(parts) for name, parts in texts.items()}
