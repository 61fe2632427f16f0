"""What is typed after `/`, as a condition on texts and labels: one language on every screen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from meshwright.control_plane.api.models.instances import InstanceStatus

LANGUAGE = "!word: without it, label=v2, label=version:v2"
"""What can be typed besides words that must occur."""

LABEL = "label="


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """Words and labels that must occur, and those that must not occur; all in lower case.

    A label is `key=value`, or `=value` whatever its key.
    """

    words: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    excluded_labels: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.excluded or self.labels or self.excluded_labels)

    def matches(self, text: str, labels: str = "") -> bool:
        """Whether a text with labels (as of `label_text`) has all that it must; case is ignored.

        Words are also looked for in the labels.
        """
        if not self:
            return True
        lowered, pairs = f"{text} {labels}".lower(), labels.lower().split()
        return (
            all(word in lowered for word in self.words)
            and not any(word in lowered for word in self.excluded)
            and all(has_label(pairs, label) for label in self.labels)
            and not any(has_label(pairs, label) for label in self.excluded_labels)
        )


def parse_search(text: str) -> SearchQuery:
    """Parse a search line: words, `label=VALUE`, `label=KEY:VALUE`; with `!` before what must not occur."""
    parts: dict[tuple[bool, bool], list[str]] = {}
    for word in text.lower().split():
        body = word.removeprefix("!")
        is_label = body.startswith(LABEL)
        if is_label:
            key, colon, value = body.removeprefix(LABEL).partition(":")
            body = f"{key}={value}" if colon else f"={key}"
        if body.strip("="):
            parts.setdefault((is_label, word.startswith("!")), []).append(body)
    orders = ((False, False), (False, True), (True, False), (True, True))
    return SearchQuery(*(tuple(parts.get(order, ())) for order in orders))


def has_label(pairs: Sequence[str], label: str) -> bool:
    """Whether one of the pairs is the label, or has its value."""
    return any(pair == label or (label[0] == "=" and pair.endswith(label)) for pair in pairs)


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as search looks at them: `key=value`."""
    return " ".join(f"{key}={value}" for key, value in labels.items())


def instance_labels(instances: Iterable[InstanceStatus]) -> dict[str, str]:
    """The labels of instances: by name, by `service/name`, and together by service."""
    texts: dict[str, dict[str, None]] = {}
    for each in instances:
        for name in (each.service, each.name, f"{each.service}/{each.name}"):
            texts.setdefault(name, {})[label_text(each.labels)] = None
    return {name: " ".join(parts) for name, parts in texts.items()}
