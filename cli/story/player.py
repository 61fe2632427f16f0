"""Plays the tour on a running demo, under traffic, and leaves the mesh as it was."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path
from typing import Any

from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.options import author
from meshwright.cli.output import echo, flush, sanitize
from meshwright.cli.story.scenes import SCENES, StoryBeat, documents, duration, seen
from meshwright.cli.traffic.changes import apply_documents, remove_documents, wait_for_acks
from meshwright.cli.traffic.counters import TrafficCounters
from meshwright.cli.traffic.people import People
from meshwright.cli.traffic.plan import TrafficPlan
from meshwright.cli.traffic.runner import TrafficRun, ingress_url
from meshwright.cli.traffic.sender import RequestSender, open_session
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.api.errors import ApiError

LEAD_SECONDS = 15.0
"""Seconds of traffic before the first scene, so that there is something to compare with."""


WIDTH = 100
"""Columns of a line, at most."""


class _Stopped(Exception):
    """The tour was stopped before its end."""


async def play(plan: TrafficPlan, pace: float, state: Path, stop: asyncio.Event) -> None:
    """Play all scenes until `stop` is set, each beat `pace` times its length; raises MeshError.

    Policies of the tour are gone when this returns. Raises CommandError if that fails.
    """
    base_url = await asyncio.to_thread(ingress_url, state)
    await asyncio.to_thread(_remove, state)  # of a tour that was killed
    async with open_session(base_url) as session:
        await People(RequestSender(session, TrafficCounters()), plan.seed).wait_until_accepted()
        run, ended = TrafficRun(plan, session), asyncio.Event()
        sending = asyncio.create_task(run.send(ended))
        try:
            await _tell(pace, state, stop)
        except _Stopped:
            _say("The tour is stopped.")
        finally:
            await asyncio.to_thread(_remove, state)
            ended.set()
            await asyncio.gather(sending, return_exceptions=True)
    made = run.counters.journeys
    _say(
        f"All policies of the tour are deleted: the mesh is as it was. {made.sent} journeys were made, "
        f"{made.errors} with an error. `mesh history` lists the changes."
    )


async def _tell(pace: float, state: Path, stop: asyncio.Event) -> None:
    _say(
        f"A tour in {len(SCENES)} scenes of about {duration(pace) / 60:.0f} minutes, under traffic. Open "
        "`mesh dash` in another terminal: numbers are the keys of its tabs. Ctrl-C stops the tour, and "
        "undoes what it has done."
    )
    await _watch(LEAD_SECONDS * pace, stop)
    for number, scene in enumerate(SCENES, 1):
        echo(f"\n{number} of {len(SCENES)}: {scene.title}")
        for beat in scene.beats:
            _print("  ", beat.text)
            if problem := await asyncio.to_thread(_act, beat, f"mesh demo --story: {scene.title}", state):
                _print("  refused: ", problem)
            _print("  look: ", beat.look)
            flush()
            await _watch(beat.seconds * pace, stop)
            if beat.edge:
                caller, callee = beat.edge
                measured = seen(await asyncio.to_thread(_edge, caller, callee, state))
                _print("  seen: ", f"{caller} → {callee}: {measured}")


async def _watch(seconds: float, stop: asyncio.Event) -> None:
    """Let some time pass; raises _Stopped when the tour is to end."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
    raise _Stopped


def _act(beat: StoryBeat, message: str, state: Path) -> str:
    """Do what a beat does; returns why it was refused, for one that must be. Raises MeshError."""
    match beat.action:
        case "apply":
            apply_documents(beat.documents, message, state)
        case "undo":
            _remove(state)
        case "rollback":
            last, before = (item["revision"] for item in call_api(calls.history(2), state)["revisions"])
            options = calls.ChangeOptions(base=last, message=message, author=author())
            wait_for_acks(call_api(calls.rollback(before, options), state), state)
        case "refused":
            try:
                revision = apply_documents(beat.documents, message, state)
            except ApiError as error:
                return "; ".join(problem.message for problem in error.problems) or str(error)
            raise CommandError(errors.FAILED, f"revision {revision} should have been refused")
    return ""


def _edge(caller: str, callee: str, state: Path) -> Any:
    edges = call_api(calls.topology(), state)["edges"]
    return next((edge for edge in edges if (edge["from"], edge["to"]) == (caller, callee)), None)


def _remove(state: Path) -> None:
    refs = {(document["kind"], document["metadata"]["name"]) for document in documents()}
    remove_documents([calls.DocumentRef(*ref) for ref in sorted(refs)], "mesh demo --story: undone", state)


def _say(text: str) -> None:
    echo("")
    _print("", text)
    flush()


def _print(label: str, text: str) -> None:
    """Print a paragraph, wrapped, with its label before the first line."""
    echo(textwrap.fill(sanitize(text), WIDTH, initial_indent=label, subsequent_indent=" " * len(label)))
