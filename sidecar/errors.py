"""Errors of requests to the control plane."""

from __future__ import annotations


class UnavailableError(Exception):
    """The control plane does not respond at present. A retry may help."""


class RejectedError(Exception):
    """The control plane rejected the request. The text is the control plane's reason."""
