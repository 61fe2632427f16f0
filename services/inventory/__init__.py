"""Inventory: how much of each product there is, and who has reserved it."""
