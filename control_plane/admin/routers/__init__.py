"""Routes of the admin API: a router holds the routes of one topic, and its constructor takes what they need.

To add a route: write it in the router of its topic (or a new router, listed in
`control_plane/admin_routers.py`), its models in `api/models/`, its call in `api/calls.py`, and its method in
`api/client.py`.
"""
