"""Commands to a sidecar and their results, between control plane and agent, and on the admin API.

An agent fetches commands with a long poll (CommandBatch) and reports each result with another call
(CommandResult). The text of a result is the JSON of one of the models below; a long text travels compressed.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from meshwright.control_plane.api.models.base import ApiModel, Name

TEXT_LIMIT = 8 * 1024 * 1024
"""Characters of a result's text: the configuration of a few thousand clusters."""

COMPRESSED_LIMIT = 1024 * 1024
"""Bytes of a compressed text; a configuration shrinks to a tenth or less."""

INLINE_LIMIT = 16 * 1024
"""Characters of a text that is sent uncompressed."""

ARGUMENT_LIMIT = 16 * 1024
"""Characters of a command's argument. The headers of a probe may hold a token."""

FILTER_LIMIT = 512
"""Characters of the filter of statistics."""

ERROR_LIMIT = 1000
"""Characters of an error message."""

COMMANDS_LIMIT = 16
"""Commands queued for one proxy."""

LINES_LIMIT = 5000
"""Lines of a log in one result."""

TAP_MAX_SECONDS = 600
"""The longest time that a tap lasts unless it is renewed."""

LOG_LEVEL_MAX_SECONDS = 86_400
"""The longest time for which a log level may be changed."""

LOG_LEVEL_DEFAULT_SECONDS = 600
"""How long a changed log level lasts by default: a forgotten debug log fills disks."""

RESTART_BEGIN = "begin"
"""Argument of the command that restarts an app."""

CommandId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
LoggerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
LogLevel = Literal["trace", "debug", "info", "warning", "error", "critical", "off"]
"""Envoy's log levels, the most verbose first."""

ConfigSection = Literal["listeners", "clusters", "routes", "endpoints"]
"""A section of Envoy's configuration."""

FailureReason = Literal["", "invalid", "failed"]
"""Why a command failed. `invalid`: the command is wrong. `failed`: the proxy could not run it."""

StatValue = int | str
"""A statistic's value: a number, or a histogram's quantiles as Envoy prints them."""


# --- between control plane and agent ----------------------------------------------------------------


class ProxyRef(ApiModel):
    """Names a proxy; for a gateway's proxy `service` is the gateway's name."""

    node: Name
    service: Name


class ProxyCommand(ApiModel):
    """A command for one proxy. The meaning of `argument` depends on the kind.

    | kind | argument | text of the result |
    |---|---|---|
    | stats | a regular expression, empty for all | ProxyStats |
    | logs | `lines=N&proxy=OFFSET&app=OFFSET`; offsets only to continue from there | ProxyLogs |
    | log-level | empty to read, or `level=L&logger=NAME&seconds=S`; no logger: all | ProxyLogLevel |
    | config | a ConfigSection, empty for all | ProxyConfig |
    | restart | `begin` to restart the app, empty to ask how far it is | InstanceRestart |
    | tap | seconds during which every request is reported, 0 to stop | empty |
    | probe | ProbeRequest | ProbeAnswer |
    """

    id: CommandId
    node: Name
    kind: str = Field(max_length=32)
    argument: str = Field("", max_length=ARGUMENT_LIMIT)

    @property
    def logged(self) -> str:
        """The argument as logs have it: empty if it may hold a token."""
        return "" if self.kind == "probe" else self.argument


class CommandBatch(ApiModel):
    """Commands waiting for a proxy; often empty."""

    commands: tuple[ProxyCommand, ...] = Field((), max_length=COMMANDS_LIMIT)


class CommandResult(ApiModel):
    """The result of a command: `text`, or the same text `compressed`, or an `error` message."""

    id: CommandId
    node: Name
    text: str = Field("", max_length=INLINE_LIMIT)
    compressed: str = Field("", max_length=COMPRESSED_LIMIT)
    error: str = Field("", max_length=ERROR_LIMIT)
    reason: FailureReason = ""

    @classmethod
    def succeeded(cls, command: ProxyCommand, text: str) -> CommandResult:
        """A result with this text, compressed if it is long; an error if it is too long even so."""
        if len(text) <= INLINE_LIMIT:
            return cls(id=command.id, node=command.node, text=text)
        compressed = base64.b64encode(zlib.compress(text.encode())).decode()
        if len(text) > TEXT_LIMIT or len(compressed) > COMPRESSED_LIMIT:
            return cls.failed(
                command, f"the result is too long ({len(text)} characters): request a part of it"
            )
        return cls(id=command.id, node=command.node, compressed=compressed)

    @classmethod
    def failed(cls, command: ProxyCommand, error: str, reason: FailureReason = "failed") -> CommandResult:
        """A result without text, and why."""
        return cls(id=command.id, node=command.node, error=error[:ERROR_LIMIT], reason=reason)

    def decode_text(self) -> str:
        """The text; raises ValueError if it cannot be decompressed or exceeds TEXT_LIMIT."""
        if not self.compressed:
            return self.text
        try:
            decompressor = zlib.decompressobj()
            raw = decompressor.decompress(base64.b64decode(self.compressed, validate=True), 4 * TEXT_LIMIT)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"not a compressed text: {error}") from None
        text = raw.decode()
        if decompressor.unconsumed_tail or not decompressor.eof or len(text) > TEXT_LIMIT:
            raise ValueError(f"truncated, or longer than {TEXT_LIMIT} characters")
        return text


# --- admin API --------------------------------------------------------------------------------------


class ProxyStats(ApiModel):
    """An Envoy's statistics by name; `truncated`: there are more."""

    proxy: str
    stats: dict[str, StatValue]
    truncated: bool = False


class LogPart(ApiModel):
    """The end of a log, or what was appended after an earlier part; `end` is the offset at which it ends."""

    source: Literal["proxy", "app"] = Field(description="Envoy's log, or that of the app beside it.")
    file: str = Field(description="Path of the file on its host.")
    text: str = ""
    end: int = Field(0, ge=0, description="Offset of the end of this part, in bytes.")


class ProxyLogs(ApiModel):
    """A sidecar's logs: Envoy's, and the app's if the agent writes it."""

    proxy: str
    logs: tuple[LogPart, ...] = ()


class ProxyLogLevel(ApiModel):
    """An Envoy's log levels: the level of most loggers, and of each."""

    proxy: str
    level: str
    loggers: dict[str, str]
    resets_in: float | None = Field(
        None, description="Seconds until all levels are reset; null: they have not been changed."
    )


class LogLevelRequest(ApiModel):
    """A log level for one logger or all of them, and for how long."""

    level: LogLevel
    logger: LoggerName | None = None
    seconds: int = Field(
        LOG_LEVEL_DEFAULT_SECONDS, ge=1, le=LOG_LEVEL_MAX_SECONDS, description="Seconds until it is reset."
    )


class InstanceRestart(ApiModel):
    """How far the restart of an instance's app is: drained, requests finished, stopped, started, healthy."""

    proxy: str
    phase: str = Field(description="What its sidecar is doing.")
    finished: bool = Field(description="Whether it runs and is healthy.")
    reason: str = Field("", description="What is wrong with it; empty: nothing is known.")


class ProxyConfig(ApiModel):
    """An Envoy's configuration dump, with private keys redacted."""

    proxy: str
    configs: tuple[dict[str, Any], ...] = ()
