"""Requests and answers of the admin API, beside the words of `types.py`. JSON, keys in camelCase."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from meshwright.control_plane.api.models.base import (
    ApiModel,
    ApplyResult,
    DocumentChange,
    InstanceStatus,
    Name,
    ProxyDetail,
    ProxyStatus,
    RevisionInfo,
)

DOCUMENTS_LIMIT = 10_000
"""Documents that one request may carry."""

TTL_FIELD = Field(3600.0, ge=1, le=30 * 86400, description="Seconds until the token expires.")


class StrictModel(ApiModel):
    """A message whose keys are camelCase in JSON and which refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class DocumentInput(StrictModel):
    """A policy document and where its user finds it: `path:line`, empty when unknown."""

    document: dict[str, Any]
    source: str = Field("", max_length=4096)


class PolicyRef(StrictModel):
    """Names one document."""

    kind: str = Field(max_length=63)
    name: str = Field(max_length=63)


class EditRequest(StrictModel):
    """What every change carries. `base`: the revision it was made from; none: the current one."""

    base: int | None = Field(
        None, ge=0, le=2**53, description="Refuse when this is no longer the newest revision."
    )
    message: str = Field("", max_length=1000, description="Why, for the history.")
    author: str = Field("", max_length=200, description="Who, for the history.")
    dry_run: bool = Field(False, description="Check and tell, change nothing.")


class ApplyRequest(EditRequest):
    documents: tuple[DocumentInput, ...] = Field(max_length=DOCUMENTS_LIMIT)


class DeleteRequest(EditRequest):
    refs: tuple[PolicyRef, ...] = Field(max_length=DOCUMENTS_LIMIT)


class RollbackRequest(EditRequest):
    pass


class DiffRequest(StrictModel):
    documents: tuple[DocumentInput, ...] = Field(max_length=DOCUMENTS_LIMIT)


class ApplyResponse(ApplyResult):
    """`warnings`: what was applied though it will do nothing yet, such as a target that is missing."""

    warnings: tuple[str, ...] = ()
    document_diff: str = Field("", description="Of a dry run: what would change, as a unified diff of YAML.")
    affected_proxies: tuple[str, ...] = Field(
        (), description="Of a dry run: the sidecars connected here that would be configured anew."
    )


class DocumentList(ApiModel):
    """Documents of one revision, in the form in which they can be applied again."""

    revision: int
    documents: tuple[dict[str, Any], ...] = ()


class RevisionDetail(ApiModel):
    """One revision whole: who, when, why, what it changed, and all documents that stood after it."""

    info: RevisionInfo
    documents: tuple[dict[str, Any], ...] = ()


class RevisionList(ApiModel):
    """Newest first."""

    revisions: tuple[RevisionInfo, ...] = ()


class DiffResponse(ApiModel):
    """What an apply would change: `documents` and `resources` (Envoy's) are unified diffs of YAML."""

    revision: int
    changed: tuple[DocumentChange, ...] = ()
    document_diff: str = ""
    resource_diff: str = ""


class InstanceList(ApiModel):
    instances: tuple[InstanceStatus, ...] = ()


class ProxyList(ApiModel):
    """By service, then name."""

    proxies: tuple[ProxyDetail, ...] = ()


class WaitResult(ApiModel):
    """How a wait ended.

    `proxies` are those that rejected the revision, or that have not taken it yet; `refusing` those that still
    refuse what an older one brought.
    """

    state: Literal["programmed", "rejected", "timeout"]
    revision: int
    proxies: tuple[ProxyStatus, ...] = ()
    rejecting_older: tuple[ProxyStatus, ...] = ()


class TokenRequest(StrictModel):
    """Exactly one of `service` and `gateway` names who may enrol with the token."""

    service: Name | None = None
    gateway: Name | None = None
    ttl: float = TTL_FIELD
    author: str = Field("", max_length=200, description="Who, for the record.")


class NewToken(ApiModel):
    """A join token, shown this once; `id` names it afterwards, `expires` is in epoch seconds."""

    token: str
    id: str
    expires: float


class TokenInfo(ApiModel):
    """A join token on record: whom it is for, when (epoch seconds), and how many enrolments it served."""

    id: str
    role: Literal["service", "gateway"]
    name: str
    created: float
    expires: float
    author: str = ""
    uses: int = 0
    revoked: bool = False


class TokenList(ApiModel):
    """Newest first."""

    tokens: tuple[TokenInfo, ...] = ()


class RevokedToken(ApiModel):
    """Names the join token that counts no more."""

    id: str


class ValidationProblem(ApiModel):
    """A place in a user's file; line and column count from 1."""

    path: str
    line: int = 1
    column: int = 1
    message: str


class ErrorInfo(ApiModel):
    code: Literal[
        "invalid",
        "unauthorized",
        "refused",
        "not-found",
        "not-allowed",
        "conflict",
        "too-large",
        "store-unavailable",
        "busy",
        "unanswered",
        "internal",
    ]
    message: str
    problems: tuple[ValidationProblem, ...] = ()


class ErrorResponse(ApiModel):
    """The form of every error."""

    error: ErrorInfo


class HealthStatus(ApiModel):
    status: Literal["ok"] = "ok"
