"""The demo's exchange as a business: orders and their sagas, events and mail, people, the market."""

from __future__ import annotations

from meshwright.dashboards.board import EXCHANGE, SERVICE, Board, Section, dashboard_url
from meshwright.dashboards.parts import (
    ANY_RATE_IS_BAD,
    SUCCESS,
    ZERO_IS_GOOD,
    StatPanel,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import quantile, rate

_APP = 'job="meshwright-app"'
_ORDERS = f'{_APP}, service="orders", method="POST", route="/api/orders"'
_DECIDED = rate("http_requests_total", f'{_ORDERS}, status_code=~"201|402|409"')
_FINISHED = f"sum by (status) ({rate('sagas_finished_total', _APP)})"
_SIGNING_IN = rate("http_requests_total", f'{_APP}, route=~"/api/auth/.*"')
_LOST = rate("market_data_sent_total", f'{_APP}, code!="OK"')
_QUOTES = rate("http_requests_total", f'{_APP}, route="/api/quotes/{{symbol}}"')
_SECONDS: tuple[tuple[float | None, str], ...] = ((None, "green"), (1, "orange"), (5, "red"))
_LINK = (("Service", dashboard_url(SERVICE, service="${__field.labels.service}")),)

NOW = Section(
    "Now",
    (
        StatPanel(
            "Orders",
            "Orders per second that were decided: paid, or cancelled because of card or stock.",
            "ops",
            f"sum({_DECIDED})",
            decimals=2,
        ),
        StatPanel(
            "Decided",
            "The share of attempts to order that were decided. The others got 5xx and go on by themselves.",
            "percentunit",
            f"sum({_DECIDED}) / (sum({rate('http_requests_total', _ORDERS)}) > 0)",
            SUCCESS,
            decimals=2,
        ),
        StatPanel(
            "p90 of an order",
            "90 % of the orders took orders at most this long. A slow card takes 3 s.",
            "s",
            quantile(0.9, "http_request_duration_seconds", _ORDERS),
            _SECONDS,
        ),
        # Replicas count the same database or broker: the largest of their numbers, not the sum.
        StatPanel(
            "Stuck sagas",
            "Sagas whose step has failed again and again: `python -m meshwright.services.orders sagas`.",
            "short",
            f"max(sagas_stuck{{{_APP}}})",
            ZERO_IS_GOOD,
        ),
        StatPanel(
            "Mail queue",
            "Mails that wait to be sent, or to be tried again.",
            "short",
            f"max(jobs_waiting{{{_APP}}})",
            ((None, "green"), (20, "orange"), (200, "red")),
        ),
        StatPanel(
            "Dead letters",
            "Events and mails that failed too often, or that nobody understands.",
            "short",
            f"max(dead_letters{{{_APP}}}) + max(jobs_dead{{{_APP}}})",
            ZERO_IS_GOOD,
        ),
    ),
)

ORDERS = Section(
    "Orders",
    (
        TimeSeriesPanel(
            "Sagas finished",
            "Sagas per second that ended, by the status of their order.",
            "ops",
            ((_FINISHED, "{{status}}"),),
            width=8,
            stacked=True,
        ),
        TimeSeriesPanel(
            "Saga steps",
            "Attempts at steps per second: one that failed is tried again, a refused one compensates.",
            "ops",
            ((f"sum by (step, outcome) ({rate('saga_steps_total', _APP)})", "{{step}} {{outcome}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Duration of an order",
            "What a request to place an order takes, saga included.",
            "s",
            tuple(
                (quantile(q, "http_request_duration_seconds", _ORDERS), f"p{round(q * 100)}")
                for q in (0.5, 0.9, 0.99)
            ),
            _SECONDS,
            width=8,
        ),
    ),
)

EVENTS = Section(
    "Events and mail",
    (
        TimeSeriesPanel(
            "Events handled",
            "Deliveries of events per second, by name and outcome. One that failed is delivered again.",
            "ops",
            ((f"sum by (name, outcome) ({rate('events_handled_total', _APP)})", "{{name}} {{outcome}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Backlog",
            "Events that a service has not handled yet. It grows while the service is away or too slow.",
            "short",
            ((f"max by (service, name) (events_backlog{{{_APP}}})", "{{service}} {{name}}"),),
            width=8,
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Mails",
            "Attempts to send a mail for a job of the queue per second, by outcome.",
            "ops",
            ((f"sum by (outcome) ({rate('jobs_done_total', _APP)})", "{{outcome}}"),),
            width=8,
        ),
    ),
)

PEOPLE = Section(
    "People and market",
    (
        TimeSeriesPanel(
            "Signing in",
            "Requests to sign up, in and out per second, and tokens refreshed.",
            "reqps",
            ((f"sum by (route, status_code) ({_SIGNING_IN})", "{{route}} {{status_code}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Market ticks sent",
            "Ticks per second from trading to analytics, by gRPC code.",
            "ops",
            ((f"sum by (code) ({rate('market_data_sent_total', _APP)})", "{{code}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Ticks lost",
            "Ticks per second that did not reach analytics. The next one follows soon.",
            "ops",
            ((f"sum({_LOST}) or vector(0)", "lost"),),
            ANY_RATE_IS_BAD,
            width=8,
        ),
        TimeSeriesPanel(
            "Quotes",
            "Quotes read and set per second, by who answered. Both count what legacy asks of trading.",
            "reqps",
            ((f"sum by (service, method) ({_QUOTES})", "{{service}} {{method}}"),),
            width=24,
            links=_LINK,
        ),
    ),
)

BOARD = Board(
    EXCHANGE,
    "Exchange",
    "The demo's exchange: orders, sagas, events, mail, people, the market.",
    (NOW, ORDERS, EVENTS, PEOPLE),
)
