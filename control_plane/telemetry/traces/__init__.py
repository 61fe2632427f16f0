"""Stored traces: what spans are parsed to, how traces are searched and how they become trees. Pure."""
