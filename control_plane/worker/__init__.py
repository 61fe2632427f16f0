"""Functions that run in a process of their own, with limits: what takes long leaves the event loop alone."""
