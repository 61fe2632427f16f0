"""Browser sessions."""

from __future__ import annotations

import pytest

from meshwright.tui.web.sessions import (
    LINK_SECONDS,
    MAX_SESSIONS,
    SESSION_SECONDS,
    WRONG_TOKENS_PER_PEER,
    BrowserSessions,
    OneTimeCode,
    WrongTokenBrake,
    presented_session,
)


def test_a_session_is_valid_until_it_expires() -> None:
    sessions = BrowserSessions()
    sessions.start("a", 0.0)
    assert sessions.is_valid("a", SESSION_SECONDS - 1)
    assert not sessions.is_valid("a", SESSION_SECONDS)
    assert not sessions.is_valid("", 0.0)


def test_the_oldest_session_is_dropped_when_there_are_too_many() -> None:
    sessions = BrowserSessions()
    for number in range(MAX_SESSIONS + 1):
        sessions.start(f"n{number}", 0.0)
    assert not sessions.is_valid("n0", 1.0)
    assert sessions.is_valid(f"n{MAX_SESSIONS}", 1.0)


def test_a_code_is_good_once_and_for_a_while() -> None:
    code = OneTimeCode("c", 0.0)
    assert not code.redeem("", 1.0)
    assert not code.redeem("d", 1.0)
    assert code.redeem("c", 1.0)
    assert not code.redeem("c", 1.0)
    assert not code.redeem("", 1.0)
    assert not OneTimeCode("c", 0.0).redeem("c", LINK_SECONDS)


def test_the_brake_is_per_peer() -> None:
    brake = WrongTokenBrake()
    assert all(brake.enter("a") for _ in range(WRONG_TOKENS_PER_PEER))
    assert not brake.enter("a")
    assert brake.enter("b")
    brake.leave("a")
    assert brake.enter("a")


@pytest.mark.parametrize(
    ("protocols", "session"),
    [
        ("mesh-dash, session.abc", "abc"),
        ("session.abc,mesh-dash", "abc"),
        ("mesh-dash", ""),
        ("", ""),
        ("session.", ""),
        ("xsession.abc", ""),
    ],
)
def test_the_session_is_a_subprotocol(protocols: str, session: str) -> None:
    assert presented_session(protocols) == session
