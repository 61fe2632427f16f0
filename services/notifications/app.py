"""Notifications: sends mail for jobs of the queue and for new users, and lists what was sent.

A mail may be sent twice when the process dies between sending and recording it; never does one get lost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import aiosmtplib
import structlog
from pydantic import Field

from meshwright.services.events.broker import open_broker
from meshwright.services.events.consumer import (
    AWAY_SECONDS,
    MEASURE_SECONDS,
    EventSubscription,
    subscribe,
)
from meshwright.services.events.event import ServiceEvent
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Operation,
    OperationRequest,
    OperationResponse,
    QueryModel,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.kit.settings import SettingsError
from meshwright.services.kit.spans import client_span
from meshwright.services.notifications import domain
from meshwright.services.notifications.jobs import JobWorker
from meshwright.services.notifications.store import TABLES, NotificationStore

SMTP_SECONDS = 10.0
"""Seconds for a mail. Shorter than a worker's life without a sign."""

log = structlog.get_logger()


class NotificationResponse(BodyModel):
    """A mail that was sent; `sent` in milliseconds since the epoch."""

    kind: domain.Kind
    subject: str
    sent: int


class NotificationListResponse(BodyModel):
    """What was sent to a user, newest first, and how many of all the user has not read."""

    notifications: list[NotificationResponse]
    unread: int


class NotificationListQuery(QueryModel):
    """The maximum number of notifications."""

    limit: int = Field(50, ge=1, le=200)


class MailSender:
    """Sends mail to the server at `url` (`smtp://host:port`). Raises SettingsError for another one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "smtp" or not parts.hostname or parts.port is None:
            raise SettingsError(f"SMTP_URL: {url!r} is not valid: set smtp://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port

    async def send(self, mail: EmailMessage) -> None:
        """Send one mail. Raises aiosmtplib.SMTPException or OSError."""
        with client_span("SMTP send", {"server.address": self._host, "server.port": self._port}):
            await aiosmtplib.send(
                mail, hostname=self._host, port=self._port, timeout=SMTP_SECONDS, start_tls=None
            )

    async def check(self) -> None:
        """Raise when the server does not greet."""
        async with aiosmtplib.SMTP(
            hostname=self._host, port=self._port, timeout=SMTP_SECONDS, start_tls=None
        ):
            pass


class NotificationsApi:
    """The operations of notifications, and what it does in the background."""

    def __init__(self, store: NotificationStore, sender: MailSender) -> None:
        self._store = store
        self._sender = sender

    def operations(self) -> list[Operation]:
        """All operations."""
        path = "/api/notifications/user/{userId}"
        return [
            Operation(
                "GET",
                path,
                "List what was sent to a user",
                self.list_by_user,
                {200: NotificationListResponse},
                query=NotificationListQuery,
                needs_caller=True,
            ),
            Operation(
                "POST", f"{path}/read", "Mark a user's notifications as read", self.mark_read, {204: None},
                needs_caller=True,
            ),
        ]  # fmt: skip

    async def list_by_user(self, request: OperationRequest[None, NotificationListQuery]) -> OperationResponse:
        user_id = request.path["userId"]
        request.check_may_read(user_id)
        listed = [
            NotificationResponse(kind=sent.kind, subject=sent.subject, sent=sent.sent)
            for sent in await self._store.list_by_user(user_id, request.query.limit)
        ]
        unread = await self._store.unread(user_id)
        return OperationResponse(NotificationListResponse(notifications=listed, unread=unread))

    async def mark_read(self, request: OperationRequest[None, None]) -> OperationResponse:
        user_id = request.path["userId"]
        if request.caller.user_id != user_id:
            raise HttpError(403, "forbidden", "these are another person's notifications")
        await self._store.mark_read(user_id, _now())
        return OperationResponse(status=204)

    async def do_job(self, job: Mapping[str, Any]) -> None:
        """Do a job of the queue. Raises ValueError for one that is not valid."""
        await self._notify(domain.from_job(job))

    async def welcome(self, event: ServiceEvent) -> None:
        """Welcome a new user. Raises ValueError for an event that is not valid."""
        await self._notify(domain.from_event(event))

    async def _notify(self, notification: domain.Notification) -> None:
        if await self._store.is_sent(notification.id):
            return
        await self._sender.send(domain.to_mail(notification))
        await self._store.record(notification, _now())
        log.info("mail sent", id=notification.id, user_id=notification.user_id)


def _now() -> int:
    return time.time_ns() // 1_000_000


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, and work in the background."""
    environ = runtime.environ
    address = environ.get("INBOX_ADDRESS") or "127.0.0.1:1025"
    sender = MailSender(environ.get("SMTP_URL") or f"smtp://{address}")
    runtime.checks["smtp"] = sender.check
    api = NotificationsApi(NotificationStore(runtime.database), sender)
    if redis := open_broker(runtime):
        await subscribe(runtime, redis, EventSubscription("notifications", ("user.created",), api.welcome))
        instance, registry = runtime.settings.instance, runtime.registry
        worker = JobWorker(redis, domain.QUEUE, instance, api.do_job, registry)
        await runtime.repeat("do jobs", AWAY_SECONDS, worker.run_once)
        await runtime.repeat("measure the queue", MEASURE_SECONDS, worker.measure)
    return api.operations()


SERVICE = ServiceDefinition("notifications", TABLES, build_operations)
