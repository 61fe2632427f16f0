from meshwright.control_plane.api.client import Client as Client

__all__ = ["Client", "__version__"]

__version__: str
