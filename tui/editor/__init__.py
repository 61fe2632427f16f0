"""The user's own editor, and drafts that outlive it."""
