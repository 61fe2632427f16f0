"""Gateway: where requests enter the mesh."""
