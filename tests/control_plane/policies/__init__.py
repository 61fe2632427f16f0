"""Tests of the policy kinds and their loader."""
