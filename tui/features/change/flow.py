"""Changing the traffic of a service or an edge: choose a sheet, fill it in, confirm the change."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.api.calls import ChangeOptions, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import ApiError
from meshwright.control_plane.api.models.policies import ApplyResponse
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.errors import MeshError
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.change.attached_sheets import (
    FAULTS,
    RETRIES,
    TIMEOUTS,
    SheetKind,
    attached_sheets,
)
from meshwright.tui.features.change.sheet import Edit, Sheet
from meshwright.tui.features.change.sheet_dialog import SheetDialog
from meshwright.tui.features.change.weight_sheets import NO_BACKENDS, weight_sheets
from meshwright.tui.features.explain.question import gateway_names
from meshwright.tui.features.policies.change_flow import (
    NOTICE_SECONDS,
    ChangeRequest,
    confirm_and_apply,
    roll_back,
)
from meshwright.tui.format import sanitize
from meshwright.tui.revision_text import describe_changes
from meshwright.tui.session import Session

ATTACHED: tuple[SheetKind, ...] = (TIMEOUTS, RETRIES, FAULTS)

GATEWAY_HAS_NONE = "no route of {0} has {1} of its own: choose an edge from {0}, or the called service"


async def change_traffic(session: Session, service: str, caller: str = "") -> None:
    """Let the user change a service or, with a `caller`, the calls from it."""
    revisions = await session.call(lambda client: client.history(2))
    if revisions is None:
        return
    choices = ["weights", *(kind.word for kind in ATTACHED), *_undo_choice(revisions)]
    where = f"{caller} → {service}" if caller else service
    chosen = await session.push_screen_wait(ChooseOne(f"change {sanitize(where)}", choices))
    if chosen is None:
        return
    if chosen > len(ATTACHED):
        await roll_back(session, revisions[1].revision)
        return
    kind = ATTACHED[chosen - 1] if chosen else None
    await _fill_in(session, kind, service, caller)


def _undo_choice(revisions: Sequence[RevisionInfo]) -> list[str]:
    """The last change, if it can be undone."""
    if len(revisions) < 2 or revisions[1].withdrawn:
        return []
    last = revisions[0]
    what = last.message or ", ".join(describe_changes(last.changed, 2))
    return [f"undo revision {last.revision}: {sanitize(what)}"]


async def _fill_in(session: Session, kind: SheetKind | None, service: str, caller: str) -> None:
    """Fetch what is in force, and let the user fill in one of the sheets of a kind; None: weights."""
    policies = await session.call(lambda client: client.policies())
    attached = await session.call(lambda client: client.service_policies(service, caller))
    if policies is None or attached is None:
        return
    if kind is None:
        instances = await session.call(lambda client: client.instances())
        sheets = weight_sheets(service, caller, policies.documents, instances or ())
        nothing = NO_BACKENDS.format(sanitize(service))
    else:
        is_gateway = service in gateway_names(session.mesh_state.topology)
        sheets = attached_sheets(
            kind, service, caller, policies.documents, attached.policies, is_gateway=is_gateway
        )
        nothing = GATEWAY_HAS_NONE.format(sanitize(service), kind.word)
    if not sheets:
        session.notify(nothing, timeout=NOTICE_SECONDS, markup=False)
        return
    sheet: Sheet | None = sheets[0]
    if len(sheets) > 1:
        title = f"{sanitize(sheets[0].title)}: which?"
        chosen = await session.push_screen_wait(ChooseOne(title, [each.place for each in sheets]))
        sheet = None if chosen is None else sheets[chosen]
    if sheet is not None:
        await _apply_sheet(session, sheet, policies.revision)


async def _apply_sheet(session: Session, sheet: Sheet, base: int) -> None:
    """Show the form until its change is applied or cancelled."""
    texts, problem = sheet.texts, ""
    while True:
        filled = await session.push_screen_wait(SheetDialog(sheet, texts, problem))
        if filled is None:
            return
        texts, problem = filled, ""
        edit = sheet.build(texts)
        if not edit.refs:
            session.notify("nothing was changed", markup=False)
            return
        try:
            await confirm_and_apply(session, _request(sheet, edit, base))
        except ApiError as error:
            problem = "; ".join(each.message for each in error.problems) or str(error)
        except MeshError as error:
            problem = str(error)
        else:
            return


def _request(sheet: Sheet, edit: Edit, base: int) -> ChangeRequest:
    async def apply(client: Client, options: ChangeOptions) -> ApplyResponse:
        if edit.deletes:
            return await client.delete(edit.deletes, options)
        return await client.apply([SourcedDocument(document) for document in edit.documents], options)

    message = f"{sheet.title}: {edit.summary}" if edit.summary else sheet.title
    return ChangeRequest(f"Change the {sheet.title}?", "apply", apply, base, edit.refs, message)
