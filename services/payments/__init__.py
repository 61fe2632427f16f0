"""Payments: charges and refunds, one payment for each order."""
