"""What every gRPC port of the control plane shares: mutual TLS with certificates that are renewed."""
