"""What an agent tells Prometheus of its workloads."""
