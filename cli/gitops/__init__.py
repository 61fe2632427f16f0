"""Policies in a folder or a repository: exported, and followed."""
