"""What sidecars are asked and answer: the words between control plane and agent, and those of the admin API.

An agent fetches what is asked of its proxy by a call that the control plane holds until there is something
(Pending), and answers each ask by another (Answer). The text of an answer is the JSON of one of the messages
below; a long one travels compressed.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from meshwright.control_plane.api.models.base import ApiModel, Name

TEXT_LIMIT = 8 * 1024 * 1024
"""Characters of an answer's text: the configuration of some thousand clusters."""

COMPRESSED_LIMIT = 1024 * 1024
"""Bytes of a compressed text as it travels; a configuration shrinks to a tenth or less."""

INLINE_LIMIT = 16 * 1024
"""Characters of a text that travels as it is."""

ARGUMENT_LIMIT = 512
"""Characters of an ask's argument."""

ERROR_LIMIT = 1000
"""Characters of what went wrong."""

COMMANDS_LIMIT = 16
"""Asks of one proxy that wait at once."""

LINES_LIMIT = 5000
"""Lines of a log in one answer."""

TAP_MAX_SECONDS = 600
"""Seconds for which a sidecar tells of every request at most, unless it is asked again."""

LOG_LEVEL_MAX_SECONDS = 86_400
"""Seconds for which a log level may be changed at most."""

LOG_LEVEL_DEFAULT_SECONDS = 600
"""Seconds for which it is changed when nobody says how long: a forgotten debug log fills disks."""

CommandId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
LoggerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
LogLevel = Literal["trace", "debug", "info", "warning", "error", "critical", "off"]
"""Envoy's levels, the most talkative first."""

ConfigSection = Literal["listeners", "clusters", "routes", "endpoints"]
"""A part of the configuration."""

FailureReason = Literal["", "invalid", "failed"]
"""Why there is no answer. `invalid`: the ask is wrong; `failed`: the proxy does not do it."""

StatValue = int | str
"""A statistic's value: a number, or the quantiles of a histogram in Envoy's words."""


# --- between control plane and agent ----------------------------------------------------------------


class ProxyRef(ApiModel):
    """Names a proxy; `service` is its gateway's name when it is one's."""

    node: Name
    service: Name


class ProxyCommand(ApiModel):
    """Something to be done for one proxy. What `argument` is depends on the kind.

    | kind | argument | text of the answer |
    |---|---|---|
    | stats | a regular expression, empty for all | ProxyStats |
    | logs | `lines=N&proxy=OFFSET&app=OFFSET`, offsets only to go on from there | ProxyLogs |
    | log-level | empty to look, or `level=L&logger=NAME&seconds=S`, the logger only for one | ProxyLogLevel |
    | config | a Section, empty for all | ProxyConfig |
    | tap | seconds for which every request is told of, 0 to end that | empty |
    """

    id: CommandId
    node: Name
    kind: str = Field(max_length=32)
    argument: str = Field("", max_length=ARGUMENT_LIMIT)


class CommandBatch(ApiModel):
    """What is asked of a proxy now; often nothing."""

    commands: tuple[ProxyCommand, ...] = Field((), max_length=COMMANDS_LIMIT)


class CommandResult(ApiModel):
    """The answer to an ask: `text`, or the same compressed in `packed`, or `error` in words."""

    id: CommandId
    node: Name
    text: str = Field("", max_length=INLINE_LIMIT)
    compressed: str = Field("", max_length=COMPRESSED_LIMIT)
    error: str = Field("", max_length=ERROR_LIMIT)
    reason: FailureReason = ""

    @classmethod
    def succeeded(cls, command: ProxyCommand, text: str) -> CommandResult:
        """The answer with this text, compressed where that is worth it, an error when it is too long."""
        if len(text) <= INLINE_LIMIT:
            return cls(id=command.id, node=command.node, text=text)
        packed = base64.b64encode(zlib.compress(text.encode())).decode()
        if len(text) > TEXT_LIMIT or len(packed) > COMPRESSED_LIMIT:
            return cls.failed(
                command, f"the answer is too long ({len(text)} characters): ask for a part of it"
            )
        return cls(id=command.id, node=command.node, compressed=packed)

    @classmethod
    def failed(cls, command: ProxyCommand, error: str, reason: FailureReason = "failed") -> CommandResult:
        """That there is no answer, and why."""
        return cls(id=command.id, node=command.node, error=error[:ERROR_LIMIT], reason=reason)

    def decode_text(self) -> str:
        """The text; raises ValueError when it cannot be unpacked or is longer than TEXT_LIMIT."""
        if not self.compressed:
            return self.text
        try:
            unpacking = zlib.decompressobj()
            found = unpacking.decompress(base64.b64decode(self.compressed, validate=True), 4 * TEXT_LIMIT)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"not a compressed text: {error}") from None
        text = found.decode()
        if unpacking.unconsumed_tail or not unpacking.eof or len(text) > TEXT_LIMIT:
            raise ValueError(f"cut off, or longer than {TEXT_LIMIT} characters")
        return text


# --- admin API --------------------------------------------------------------------------------------


class ProxyStats(ApiModel):
    """An Envoy's statistics by name; `cut`: there are more than are told."""

    proxy: str
    stats: dict[str, StatValue]
    truncated: bool = False


class LogPart(ApiModel):
    """The end of a log, or what came after an earlier part: `end` is the offset at which it ends."""

    source: Literal["proxy", "app"] = Field(description="Envoy's log, or that of the app beside it.")
    file: str = Field(description="Where it lies on its host.")
    text: str = ""
    end: int = Field(0, ge=0, description="Bytes of the log up to the end of this part.")


class ProxyLogs(ApiModel):
    """A sidecar's logs: Envoy's, and the app's where the agent keeps it."""

    proxy: str
    logs: tuple[LogPart, ...] = ()


class ProxyLogLevel(ApiModel):
    """An Envoy's log levels: of most loggers, and of each."""

    proxy: str
    level: str
    loggers: dict[str, str]
    resets_in: float | None = Field(
        None, description="Seconds until all are put back to what they were; null: they are not raised."
    )


class LogLevelRequest(ApiModel):
    """A log level, for all loggers or for one, and for how long."""

    level: LogLevel
    logger: LoggerName | None = None
    seconds: int = Field(
        LOG_LEVEL_DEFAULT_SECONDS, ge=1, le=LOG_LEVEL_MAX_SECONDS, description="Seconds until it is put back."
    )


class ProxyConfig(ApiModel):
    """An Envoy's configuration as it dumps it, private keys hidden."""

    proxy: str
    configs: tuple[dict[str, Any], ...] = ()
