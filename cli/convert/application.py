"""The application file that a conversion makes: what other meshes declare and here no policy does."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwright.cli.application import Application
from meshwright.cli.convert.documents import OWN_API, Document, invalid
from meshwright.cli.convert.reading import Value

UNPRIVILEGED = 1024
"""The first port that every user may listen on."""


@dataclass(slots=True)
class ApplicationParts:
    """Services, gateways and the calls to hosts outside that are allowed, by name."""

    services: dict[str, Document] = field(default_factory=dict)
    gateways: dict[str, Document] = field(default_factory=dict)
    outbound: str = ""
    outbound_of: dict[str, str] = field(default_factory=dict)

    @property
    def is_lost_without_file(self) -> bool:
        """Whether something is said nowhere else: a gateway has its Gateway document."""
        return bool(self.services or self.outbound or self.outbound_of)

    def add_service(self, source: Value, name: str, entry: Document) -> None:
        """Add a service if it is a valid one; otherwise say at `source` why there is none."""
        probe = _document([{"name": name} | entry], [], "")
        if problem := invalid(Application, probe):
            source.problem(f"makes an invalid service, so there is none: {problem}", below=False)
        elif name in self.services:
            source.problem("is not converted: another Service has its name, and a mesh has one namespace")
        else:
            self.services[name] = entry

    def add_gateway(self, name: str, listeners: list[Document]) -> None:
        """Add the gateway of a Gateway document, with a port for each port of its listeners."""
        by_port: dict[int, str] = {}
        for listener in listeners:
            by_port.setdefault(listener["port"], listener["name"])
        taken = {port for entry in self.gateways.values() for port in _ports(entry)}
        names: dict[str, int] = {}
        for number, listener_name in sorted(by_port.items(), key=lambda item: item[0] < UNPRIVILEGED):
            port = number if number >= UNPRIVILEGED else number + 8000
            while port in taken:
                port += 1
            taken.add(port)
            names[listener_name] = port
        entry: Document = {"port": names.pop("http")} if "http" in names else {}
        self.gateways[name] = entry | ({"listeners": names} if names else {})

    def document(self, policies: str) -> Document | None:
        """The Application, with the folder of its policies if there is one; None without anything in it."""
        if not (self.gateways or self.is_lost_without_file):
            return None
        services = [
            {"name": name} | entry | ({"outbound": mode} if (mode := self.outbound_of.get(name)) else {})
            for name, entry in self.services.items()
        ]
        gateways = [{"name": name} | entry for name, entry in self.gateways.items()]
        document = _document(services, gateways, self.outbound)
        return document | {"spec": ({"policies": [policies]} if policies else {}) | document["spec"]}


def _document(services: list[Document], gateways: list[Document], outbound: str) -> Document:
    parts: Document = {"outbound": outbound, "gateways": gateways, "services": services}
    return {
        "apiVersion": OWN_API,
        "kind": "Application",
        "metadata": {"name": "converted"},
        "spec": {name: part for name, part in parts.items() if part},
    }


def _ports(gateway: Document) -> list[int]:
    """The ports that a gateway listens on; 8080 is the default of its http listener."""
    return [gateway.get("port", 8080), *gateway.get("listeners", {}).values()]
