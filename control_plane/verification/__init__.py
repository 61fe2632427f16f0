"""Envoy's own verdict on a change, before the change is made.

A scratch Envoy of this host gets the resources that a change makes or alters, as the proxies of each service
and gateway would get them, over a stream of its own. It listens nowhere and connects to nobody. What it
NACKs is reported, and the change is not made.
"""
