"""A registry for applications that use Consul's API: they register and look each other up unchanged.

An agent serves the part of Consul's HTTP API and DNS that applications use. A registered instance gets a
sidecar, its checks decide its health in the mesh, and what is looked up leads through a sidecar of this host
(docs/decisions/0016).
"""
