"""Moves rollouts on: what proxies report about stable and canary decides about the next step."""
