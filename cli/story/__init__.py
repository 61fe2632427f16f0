"""The demo's tour: `mesh demo --story` shows what a mesh does when services and people fail."""
