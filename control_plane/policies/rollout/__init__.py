"""Rollout: moves traffic to a new version step by step, and back if it fails."""
