"""The tables of orders' database."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, MetaData, String, Table

from meshwright.services.events.outbox import outbox_table

TABLES = MetaData()
events = Table(
    "events",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("data", JSON, nullable=False),
    Column("happened", BigInteger, nullable=False),
)
sagas = Table(
    "sagas",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("step", String(16), nullable=False),
    Column("due", BigInteger),  # null once done, so that the index holds unfinished sagas only
    Column("deadline", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", String(200), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("card_token", String(64), nullable=False),
    Index("sagas_by_due", "due"),
)
saga_log = Table(
    "saga_log",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("step", String(16), nullable=False),
    Column("outcome", String(200), nullable=False),
    Column("happened", BigInteger, nullable=False),
)
views = Table(
    "order_views",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("items", JSON, nullable=False),
    Index("order_views_by_user", "user_id", "created"),
)
carts = Table(
    "carts",
    TABLES,
    Column("user_id", String(64), primary_key=True),
    Column("items", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("order_id", String(64)),  # of its last checkout, null if it was changed since
)
outbox = outbox_table(TABLES)
