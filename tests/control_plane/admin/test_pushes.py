"""What a person may do with a push: pause, resume and abort it, while that has an effect."""

from __future__ import annotations

import pytest

from meshwright.control_plane.admin.route import NoParams
from meshwright.control_plane.admin.routers.pushes import PushesRouter
from meshwright.control_plane.api.models.push import Push, PushReport, PushRequest
from meshwright.control_plane.errors import NotFoundError
from tests.fakes.admin_server import FakePushes


def router(report: PushReport) -> tuple[FakePushes, PushesRouter]:
    pushes = FakePushes(report)
    return pushes, PushesRouter(pushes, pushes.withdraw)


async def test_a_revision_that_is_in_force_and_watched_is_aborted_but_not_paused() -> None:
    pushes, api = router(PushReport(newest=3, stable=3, push=Push(revision=3, phase="after", restores=1)))
    with pytest.raises(NotFoundError, match="no wave is left: revision 3 is in force; `mesh push abort`"):
        await api.change(NoParams(), PushRequest(action="pause"))
    await api.change(NoParams(), PushRequest(action="abort", author="ann", message="slow"))
    assert (pushes.saved, pushes.withdrawn) == ([], ["aborted by ann: slow"])


async def test_a_revision_that_is_no_longer_watched_cannot_be_aborted() -> None:
    pushes, api = router(PushReport(newest=3, stable=3))
    with pytest.raises(NotFoundError, match="no push is under way: revision 3 is in force"):
        await api.change(NoParams(), PushRequest(action="abort"))
    assert pushes.withdrawn == []
