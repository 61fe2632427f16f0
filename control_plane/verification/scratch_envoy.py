"""The scratch Envoy: a process that starts with the first change, stays for the next, and ends when unused.

It runs confined to a private folder of the state directory, with the control plane as its parent, and ends
with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import grpc
import structlog

from meshwright.control_plane.api.private_files import private_folder
from meshwright.control_plane.api.state_dir import BUNDLE_FILE, IDENTITY_FILE, socket_path
from meshwright.control_plane.envoy_binary import envoy_binary
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.verification import bootstrap, confinement
from meshwright.control_plane.verification.conversation import Context, Conversation
from meshwright.control_plane.verification.scratch_node import ScratchNode

SOCKET = "verify.sock"
FOLDER = "verify"
LOG = "envoy.log"

START_SECONDS = 30.0
"""How long Envoy may take to open its stream: half a second on a quiet machine."""

STOP_SECONDS = 5.0

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")


class EnvoyEndedError(Exception):
    """The scratch Envoy has ended, or cannot run; the text says how."""


class ScratchEnvoy:
    """One Envoy and its stream. `state` is the state directory."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER
        self._socket = socket_path(state, SOCKET)
        self._server: grpc.aio.Server | None = None
        self._process: Process | None = None
        self._node: ScratchNode | None = None
        self._opened: asyncio.Future[Conversation] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of a running Envoy."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def is_confined(self) -> bool:
        """Whether Envoy can neither use files of its host nor call anybody, whatever its resources say."""
        try:
            return confinement.is_possible(envoy_binary())
        except (InputError, OSError):
            return False

    async def conversation(self, node: ScratchNode) -> Conversation:
        """The stream, of an Envoy that is started if none runs. `node` is what a new one gets first.

        Raises EnvoyEndedError.
        """
        opened = self._opened
        if opened is None or self.pid is None:
            await self.stop()
            opened = self._opened = asyncio.get_running_loop().create_future()
            self._node = node
            try:
                await self._start()
            except InputError as error:
                raise EnvoyEndedError(str(error)) from None
            except OSError as error:
                raise EnvoyEndedError(f"{error.filename or self._folder}: {error.strerror}") from None
        try:
            return await self.until_it_ends(asyncio.wait_for(asyncio.shield(opened), START_SECONDS))
        except TimeoutError:
            raise EnvoyEndedError(f"it did not ask for anything within {START_SECONDS:g} s") from None

    async def until_it_ends(self, work: Awaitable[ResultT]) -> ResultT:
        """The result of an awaitable; raises EnvoyEndedError if Envoy ends before that."""
        process = self._process
        task = asyncio.ensure_future(work)
        end = asyncio.ensure_future(process.wait() if process else asyncio.sleep(0))
        try:
            await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            status = process.returncode if process else None
            raise EnvoyEndedError(f"it ended with status {status}: {self._last_words()}")
        finally:
            task.cancel()
            end.cancel()

    async def stop(self) -> None:
        """End Envoy and its stream, if there are any."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def _start(self) -> None:
        binary, folder = envoy_binary(), private_folder(self._folder)
        private_folder(self._socket.parent)
        self._socket.unlink(missing_ok=True)
        (folder / "bootstrap.json").write_text(json.dumps(bootstrap.build(str(self._socket))))
        for name, secret in ((IDENTITY_FILE, "identity"), (BUNDLE_FILE, "bundle")):
            (folder / name).write_text(json.dumps({"resources": [], "version_info": secret}))
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        handlers = grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": method})
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((handlers,))
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()
        arguments = ("-c", "bootstrap.json", "--concurrency", "1", "--disable-hot-restart")
        logging = ("--log-level", "error", "--log-path", LOG, "--drain-time-s", "1")
        (folder / LOG).unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-IS", confinement.__file__, str(binary), *arguments, *logging,
            stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env={}, cwd=folder, start_new_session=True,
        )  # fmt: skip
        log.info("verifying envoy started", pid=self._process.pid)

    async def _serve(self, _: object, context: Context) -> None:
        if self._opened is None or self._opened.done() or self._node is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "one stream at a time")
            raise AssertionError("abort raises")
        conversation = Conversation(self._node)
        self._opened.set_result(conversation)
        await conversation.serve(context)

    def _last_words(self) -> str:
        try:
            lines = (self._folder / LOG).read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return lines[-1][:500] if lines else "it has logged nothing"
