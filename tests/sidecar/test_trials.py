"""TrialBook: when ejected instances are tried, compared with the reference breaker by random histories."""

from __future__ import annotations

from random import Random

import pytest

from meshwright.sidecar.trials import TrialBook, TrialCounts, TriedInstance
from tests.envoy.breaker_machine import BreakerMachine

BACK = TriedInstance("back", "10.0.0.1:15006")
OTHER = TriedInstance("back", "10.0.0.2:15006")
OPEN_FOR = 60.0


@pytest.fixture
def book() -> TrialBook:
    result = TrialBook()
    result.clusters.add("back")
    return result


def test_a_trial_is_due_open_for_after_the_ejection(book: TrialBook) -> None:
    assert book.due(BACK, OPEN_FOR) is None
    assert book.observe({BACK}, read_at=9.9, now=10.0)
    assert book.due(BACK, OPEN_FOR) == 70.0
    assert not book.observe({BACK}, read_at=11.0, now=11.0)
    assert (book.due(BACK, OPEN_FOR), book.due(OTHER, OPEN_FOR)) == (70.0, None)


def test_a_failed_trial_starts_the_time_again_and_a_passed_one_ends_it(book: TrialBook) -> None:
    book.observe({BACK}, read_at=10.0, now=10.0)
    book.begin(BACK)
    assert book.due(BACK, OPEN_FOR) is None, "one trial at a time"
    book.end(BACK, passed=False, now=71.0)
    assert book.due(BACK, OPEN_FOR) == 131.0
    book.begin(BACK)
    book.end(BACK, passed=True, now=132.0)
    assert book.due(BACK, OPEN_FOR) is None


def test_what_envoy_says_before_its_next_check_is_not_a_new_ejection(book: TrialBook) -> None:
    book.observe({BACK}, read_at=10.0, now=10.0)
    book.begin(BACK)
    book.end(BACK, passed=True, now=71.0)
    assert not book.observe({BACK}, read_at=71.1, now=71.2), "Envoy has not dealt with the answer yet"
    book.check_arrived(BACK, 72.0)
    assert not book.observe({BACK}, read_at=71.9, now=72.1), "it was read_at before the check"
    assert book.observe({BACK}, read_at=72.2, now=72.3)
    assert book.due(BACK, OPEN_FOR) == 132.3


def test_an_instance_that_returned_without_a_trial_is_forgotten(book: TrialBook) -> None:
    book.observe({BACK, OTHER}, read_at=10.0, now=10.0)
    book.observe({OTHER}, read_at=20.0, now=20.0)
    assert (book.due(BACK, OPEN_FOR), book.due(OTHER, OPEN_FOR)) == (None, 70.0)
    book.observe({BACK}, read_at=30.0, now=30.0)
    assert book.due(BACK, OPEN_FOR) == 90.0


def test_a_cluster_without_trials_is_ignored(book: TrialBook) -> None:
    assert not book.observe({TriedInstance("other", BACK.address)}, read_at=1.0, now=1.0)
    assert not book.is_open


def test_a_trial_that_was_abandoned_is_due_again(book: TrialBook) -> None:
    book.observe({BACK}, read_at=10.0, now=10.0)
    book.begin(BACK)
    book.abandon(BACK)
    assert book.due(BACK, OPEN_FOR) == 70.0


def test_collect_shows_each_trial_once_and_counts_all(book: TrialBook) -> None:
    book.observe({BACK, OTHER}, read_at=10.0, now=10.0)
    book.begin(BACK)
    assert book.collect() == {"back": TrialCounts(half_open=1)}
    assert book.collect() == {"back": TrialCounts(half_open=1)}, "it is still running"
    book.end(BACK, passed=False, now=71.0)
    assert book.collect() == {"back": TrialCounts(half_open=0, failed=1)}
    book.begin(OTHER)
    book.end(OTHER, passed=True, now=72.0)
    assert book.collect() == {"back": TrialCounts(half_open=1, passed=1, failed=1)}, "it ran meanwhile"
    assert book.collect() == {"back": TrialCounts(passed=1, failed=1)}


@pytest.mark.parametrize("seed", range(200))
def test_random_histories_agree_with_the_reference_breaker(seed: int) -> None:
    random, book = Random(seed), TrialBook()  # noqa: S311
    book.clusters.add("back")
    machine = BreakerMachine(failures=5, open_for=OPEN_FOR)
    now = 0.0
    for _ in range(300):
        now += random.choice((0.01, 0.5, 7.0, 61.0))
        machine.call(succeeds=random.random() < 0.3, now=now)
        if random.random() < 0.7:
            book.observe({BACK} if machine.state == "open" else set(), read_at=now, now=now)
        due = book.due(BACK, OPEN_FOR)
        if due is None or due > now:
            continue
        assert machine.trial_is_due(now)
        passes = random.random() < 0.5
        book.begin(BACK)
        book.end(BACK, passed=passes, now=now)
        machine.trial(passes=passes, now=now)
        book.check_arrived(BACK, now)
