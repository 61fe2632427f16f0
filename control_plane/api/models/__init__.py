"""Models of the admin API and of the calls between agents and the control plane, by topic."""
