"""What proxies do with a request, computed from the resources that they are sent."""
