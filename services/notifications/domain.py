"""Which mail a job or an event asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from meshwright.services.events.event import ServiceEvent
from meshwright.services.kit.operations import Id

QUEUE = "notification-queue"
SENDER = "Exchange <no-reply@exchange.example>"
Kind = Literal["order-confirmation", "welcome"]

Address = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$")
]


@dataclass(frozen=True, slots=True)
class Notification:
    """A message to a person. `id` is the same each time it is asked for."""

    id: str
    kind: Kind
    user_id: str
    address: str
    subject: str
    text: str


class _Received(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class ConfirmationJob(_Received):
    """A job of the queue."""

    type: Literal["order-confirmation"]
    user_id: Id
    order_id: Id
    email: Address


class UserCreated(_Received):
    """The event `user.created`."""

    user_id: Id
    email: Address


def from_job(job: Mapping[str, Any]) -> Notification:
    """The notification that a job asks for. Raises ValueError for a job that is not valid."""
    data = ConfirmationJob.model_validate(dict(job))
    subject = f"Your order {data.order_id} is confirmed"
    text = f"Thank you for your order.\n\nOrder {data.order_id} is paid and will be shipped soon.\n"
    identifier = f"order-confirmation:{data.order_id}"
    return Notification(identifier, "order-confirmation", data.user_id, data.email, subject, text)


def from_event(event: ServiceEvent) -> Notification:
    """The notification that follows from `user.created`. Raises ValueError for an event that is not valid."""
    data = UserCreated.model_validate(dict(event.data))
    text = "Welcome to the exchange.\n\nYour account is ready.\n"
    return Notification(f"welcome:{data.user_id}", "welcome", data.user_id, data.email, "Welcome", text)


def to_mail(notification: Notification) -> EmailMessage:
    """The mail. Its Message-ID lets a mailbox recognize one that is sent again."""
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = SENDER, notification.address, notification.subject
    mail["Message-ID"] = f"<{notification.id}@exchange.example>"
    mail.set_content(notification.text)
    return mail
