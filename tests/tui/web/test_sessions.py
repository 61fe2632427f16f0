"""Browser sessions."""

from __future__ import annotations

from meshwright.tui.web.sessions import MAX_SESSIONS, SESSION_SECONDS, BrowserSessions


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
