"""The detail of a policy: what it keeps while the mesh is polled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshwright.tui.app import DashboardApp
from meshwright.tui.features.policies.screen import PoliciesScreen
from tests.tui.features.policies.test_screens import on_policies


async def test_a_poll_during_the_fetch_of_a_history_does_not_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with on_policies(tmp_path) as (pilot, _mesh):
        assert isinstance(pilot.app, DashboardApp)
        assert isinstance(pilot.app.screen, PoliciesScreen)
        detail, fetch = pilot.app.screen.detail, pilot.app.call

        async def fetch_while_polling(request: Any, **options: Any) -> Any:
            revisions = await fetch(request, **options)
            assert detail.policy is not None
            detail.show(replace(detail.policy))
            return revisions

        monkeypatch.setattr(pilot.app, "call", fetch_while_polling)
        await detail.load_history()
        assert detail.rollback_target() is not None
