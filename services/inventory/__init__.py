"""Inventory: the stock of each product, and its reservations."""
