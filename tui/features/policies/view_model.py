"""Policies as the dashboard shows them: document, state and conditions, and the rows of the list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.policies import (
    POLICY_STATES,
    DocumentList,
    PolicyState,
    PolicyStatus,
)
from meshwright.control_plane.api.models.refusals import RefusalCount
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.target_refs import target_summary
from meshwright.control_plane.api.yaml.diff import document_key
from meshwright.tui.format import POLICY_LABELS, StatusLabel, format_number, sanitize
from meshwright.tui.refusal_text import rate_of, refusal_labels, refusals_by
from meshwright.tui.search import label_text, parse_search
from meshwright.tui.widgets.table_model import SortOrder, TableCell, TableColumn, TableRow

Document = Mapping[str, Any]

POLICY_COLUMNS = (
    TableColumn("", 1),
    TableColumn("kind", 15),
    TableColumn("name", 16, grow=True),
    TableColumn("state", 16, drop_rank=1),
    TableColumn("refu/s", 6, right=True, drop_rank=3),
    TableColumn("target", 18, grow=True, drop_rank=2),
)

COUNTED_STATES: frozenset[PolicyState] = frozenset({"rejected", "pending", "programmed"})
"""States shown with the number of sidecars that accepted the policy."""


@dataclass(frozen=True, slots=True)
class PolicyViewModel:
    """One policy document with its state, its conditions, and what it refuses (None: nothing lately)."""

    kind: str
    name: str
    document: Document
    state: PolicyState
    label: StatusLabel
    conditions: tuple[StatusLabel, ...] = ()
    refused_per_s: float | None = None

    @property
    def key(self) -> str:
        """`Kind/name`."""
        return f"{self.kind}/{self.name}"

    @property
    def has_problem(self) -> bool:
        """Whether the policy needs attention."""
        return self.label.tone in {"bad", "partial"}

    def matches(self, text: str) -> bool:
        """Whether kind, name, state, target and labels match a search."""
        line = f"{self.kind} {self.name} {self.key} {self.label.text} {self.target}"
        labels = label_text(self.document["metadata"].get("labels") or {})
        return parse_search(text).matches(line, labels)

    @property
    def target(self) -> str:
        """What it applies to, in brief."""
        return target_summary(self.document["spec"])


POLICY_ORDERS: tuple[SortOrder[PolicyViewModel], ...] = (
    SortOrder(
        "severity", "", lambda each: (POLICY_STATES.index(each.state), each.kind, each.name), descending=True
    ),
    SortOrder("kind", "kind", lambda each: (each.kind, each.name)),
    SortOrder("name", "name", lambda each: (each.name, each.kind)),
    SortOrder("state", "state", lambda each: (each.label.text, each.kind, each.name)),
    SortOrder("refused", "refu/s", lambda each: (-(each.refused_per_s or 0), each.kind, each.name), True),
    SortOrder("target", "target", lambda each: (each.target, each.kind, each.name)),
)


def policy_label(status: PolicyStatus | None) -> StatusLabel:
    """The control plane's verdict on a policy, with the sidecars that accepted it where that matters."""
    if status is None:
        return POLICY_LABELS["unknown"]
    label = POLICY_LABELS[status.state]
    if status.state not in COUNTED_STATES:
        return label
    return label._replace(text=f"{label.text} {status.acked}/{status.affected}")


def condition_labels(status: PolicyStatus | None) -> Iterator[StatusLabel]:
    """Every condition with its message; Rejected has Envoy's own message."""
    for condition in status.conditions if status else ():
        text = f"{condition.type}: {sanitize(condition.message)}" if condition.message else condition.type
        bad_when = "True" if condition.type in {"Conflicted", "Rejected"} else "False"
        if condition.status == "Unknown":
            yield StatusLabel(signs.OFF, text, "off")
        elif condition.status != bad_when:
            yield StatusLabel(signs.GOOD, text, "good")
        elif condition.type == "Rejected":
            yield StatusLabel(signs.BAD, text, "bad")
        else:
            yield StatusLabel(signs.PARTIAL, text, "partial")


def listener_labels(status: PolicyStatus | None) -> Iterator[StatusLabel]:
    """Every listener of a Gateway: where it listens, how many routes are attached, what is wrong with it."""
    for listener in status.listeners if status else ():
        where = f"{listener.protocol} {sanitize(listener.hostname) or '*'}:{listener.bound_port}"
        routes = f"{listener.attached_routes} {'route' if listener.attached_routes == 1 else 'routes'}"
        text = f"listener {sanitize(listener.name)}: {where}, {routes} attached"
        problems = [
            condition
            for condition in listener.conditions
            if condition.type in {"Accepted", "ResolvedRefs"} and condition.status == "False"
        ]
        if not problems:
            yield StatusLabel(signs.GOOD, text, "good")
        for problem in problems:
            yield StatusLabel(signs.PARTIAL, f"{text}: {sanitize(problem.message)}", "partial")


def policy_view_models(
    documents: DocumentList, status: Status | None, refusals: Sequence[RefusalCount] = ()
) -> list[PolicyViewModel]:
    """Every policy, the worst state first, then by kind and name."""
    statuses = {(policy.kind, policy.name): policy for policy in (status.policies if status else ())}
    policies = []
    for document in documents.documents:
        kind, name = document_key(document)
        policy = statuses.get((kind, name))
        state = policy.state if policy else "unknown"
        refused = refusals_by(refusals, f"{kind}/{name}")
        labels = (*condition_labels(policy), *listener_labels(policy), *refusal_labels(refused))
        rate = rate_of(refused) if refused else None
        policies.append(PolicyViewModel(kind, name, document, state, policy_label(policy), labels, rate))
    return sorted(policies, key=lambda policy: (POLICY_STATES.index(policy.state), policy.kind, policy.name))


def policy_row(policy: PolicyViewModel) -> TableRow:
    """The row of a policy."""
    return TableRow(
        policy.key,
        (
            TableCell(policy.label.symbol, policy.label.tone),
            TableCell(sanitize(policy.kind)),
            TableCell(sanitize(policy.name), "strong" if policy.has_problem else "plain"),
            TableCell(policy.label.text, policy.label.tone),
            refused_cell(policy.refused_per_s),
            TableCell(sanitize(policy.target), "dim"),
        ),
    )


def refused_cell(per_second: float | None) -> TableCell:
    """What a policy refuses per second; empty if nothing lately."""
    if per_second is None:
        return TableCell("")
    return TableCell(format_number(per_second), "partial" if per_second else "dim")


def policy_count(policies: Sequence[PolicyViewModel]) -> str:
    """The number of policies, and of those with a problem."""
    problems = sum(policy.has_problem for policy in policies)
    text = f"{len(policies)} {'policy' if len(policies) == 1 else 'policies'}"
    return f"{text}, {problems} with problems" if problems else text


def find_document(documents: Iterable[Document], kind: str, name: str) -> list[Document]:
    """The document of that kind and name as a list of one; an empty list if there is none."""
    return [document for document in documents if document_key(document) == (kind, name)]
