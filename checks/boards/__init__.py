"""Draws the Grafana boards with the data of a real Prometheus, for people to look at."""
