"""Where an issuer's public keys come from: the document itself, a file beside it, or a URL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.called_url import URL, CAPem, check_ca, parse_url
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.named_file import FILE_DESCRIPTION, read_named_file

MAX_JWKS_BYTES = 64 * 1024
"""Size of a key set; providers publish a few keys of some 500 bytes each."""

MIN_REFRESH, DEFAULT_REFRESH, MAX_REFRESH = timedelta(seconds=6), timedelta(minutes=5), timedelta(hours=24)
"""Envoy fetches five seconds before the end of this time, so a shorter one would fetch without a pause."""

PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
"""Members of a JWK that hold private or symmetric keys (RFC 7518, section 6)."""

_KEY_TYPES = ("RSA", "EC", "OKP")


def check_key_set(text: str) -> str:
    """The key set, if each of its keys is a public one; raises ValueError otherwise."""
    if len(text.encode()) > MAX_JWKS_BYTES:
        raise ValueError(f"the key set is larger than {MAX_JWKS_BYTES // 1024} KiB: leave out old keys")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the key set is not JSON: {error}") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError("the key set has no keys: it is an object with a list `keys` (RFC 7517)")
    for index, key in enumerate(keys):
        private = [name for name in PRIVATE_MEMBERS if name in key]
        if private:
            raise ValueError(
                f"keys[{index}] has {', '.join(private)}, which is secret, and policies are no place for "
                "secrets: give the public keys only, and no symmetric ones"
            )
        if key.get("kty") not in _KEY_TYPES:
            raise ValueError(f"keys[{index}].kty is not one of {', '.join(_KEY_TYPES)}")
    return text


def _canonical(value: Any) -> Any:
    """A key set written as YAML becomes JSON text."""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, Mapping) else value


KeySet = Annotated[str, BeforeValidator(_canonical, json_schema_input_type=dict[str, Any] | str)]


class JWKS(Spec):
    """The issuer's public keys. Set one of inline, file and url."""

    inline: KeySet = Field("", description="The key set itself (RFC 7517), as YAML or as JSON text.")
    file: str = Field("", max_length=1024, description=FILE_DESCRIPTION)
    url: URL = Field(
        "",
        description="http://SERVICE/path of a service of the mesh, or https://host/path of any other host. "
        "The proxy fetches the keys at once and again after `refresh`.",
    )
    refresh: Duration = Field(
        DEFAULT_REFRESH,
        ge=MIN_REFRESH,
        le=MAX_REFRESH,
        description="How old keys from a URL become. New keys must be published this long before they sign.",
    )
    ca: CAPem = ""

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, value: Any, info: ValidationInfo) -> Any:
        return read_named_file(value, info, MAX_JWKS_BYTES)

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        if url:
            parse_url(url)
        return url

    @field_validator("inline")
    @classmethod
    def _public(cls, inline: str) -> str:
        return check_key_set(inline) if inline else inline

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.file:
            raise ValueError("file: only `mesh apply` reads files: put the key set into inline")
        if bool(self.inline) == bool(self.url):
            raise ValueError("set one of inline, file and url")
        check_ca(self.ca, self.url)
        return self
