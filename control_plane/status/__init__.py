"""The current state of the mesh: status and conditions, previews, metrics, the read model."""
