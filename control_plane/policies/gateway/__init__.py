"""Gateway: the ports where requests enter the mesh."""
