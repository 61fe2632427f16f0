"""Rollouts: what moves them, and what they do to routes."""
