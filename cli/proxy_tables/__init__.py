"""Envoy's configuration as tables, for `mesh proxy`. Pure."""
