"""Rollouts: where each stands, its two versions beside each other, and steering."""
