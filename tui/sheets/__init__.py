"""Sheets that lie over a screen: questions, help, the jump to a name."""
