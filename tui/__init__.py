"""The terminal dashboard: what the admin API tells of a mesh, as screens of a Textual application."""
