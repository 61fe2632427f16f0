"""The screen of rollouts."""
