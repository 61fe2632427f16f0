"""Inbox's SMTP server and its API. Mail is kept in memory: the newest of all, until the process ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP
from pydantic import Field

from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Operation,
    OperationRequest,
    OperationResponse,
    QueryModel,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.kit.settings import whole_number

MAX_MAILS = 1000
MAX_MAIL_BYTES = 256 * 1024
log = structlog.get_logger()


class MailResponse(BodyModel):
    """A mail."""

    to: str
    subject: str
    text: str


class MailListResponse(BodyModel):
    """Mails, newest first."""

    mails: list[MailResponse]


class MailListQuery(QueryModel):
    """`to`: only mail to this address; people see their own in any case."""

    to: str = Field("", max_length=254)
    limit: int = Field(50, ge=1, le=200)


class Inbox:
    """The mailboxes of everybody."""

    def __init__(self) -> None:
        self._mails: deque[MailResponse] = deque(maxlen=MAX_MAILS)

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
        """Take a mail that aiosmtpd has received; returns the response."""
        mail = message_from_bytes(envelope.content, policy=default)
        for address in envelope.rcpt_tos:
            self._mails.appendleft(
                MailResponse(to=address, subject=str(mail["Subject"] or ""), text=_text(mail))
            )
        log.info("mail received", recipients=len(envelope.rcpt_tos))
        return "250 OK"

    def operations(self) -> list[Operation]:
        """All operations."""
        path, listed = "/api/inbox/mails", {200: MailListResponse}
        return [
            Operation("GET", path, "List mails", self.mails, listed, query=MailListQuery, needs_caller=True)
        ]

    async def mails(self, request: OperationRequest[None, MailListQuery]) -> OperationResponse:
        address = request.query.to
        if not request.caller.is_staff:
            address = address or request.caller.email
            if address != request.caller.email:
                raise HttpError(403, "forbidden", "this is another person's mail")
        mails = [mail for mail in self._mails if not address or mail.to == address]
        return OperationResponse(MailListResponse(mails=mails[: request.query.limit]))


def _text(mail: Message) -> str:
    payload = mail.get_payload(decode=True)
    return payload.decode(errors="replace") if isinstance(payload, bytes) else ""


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Listen for mail at PORT_TCP."""
    inbox = Inbox()
    port = whole_number(runtime.environ, "PORT_TCP", "1025", 65535)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(inbox, data_size_limit=MAX_MAIL_BYTES, enable_SMTPUTF8=True, ident="inbox"),
        runtime.settings.host,
        port,
    )
    runtime.exit_stack.callback(server.close)
    log.info("takes mail", smtp_port=server.sockets[0].getsockname()[1])
    return inbox.operations()


SERVICE = ServiceDefinition("inbox", None, build_operations)
