"""Retry: when a failed request is sent again."""
