"""The policy kinds: a folder each, and what they share."""
