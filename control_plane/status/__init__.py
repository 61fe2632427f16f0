"""What a running control plane answers when it is asked about its mesh."""
