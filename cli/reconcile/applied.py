"""What a mesh on this host is to run, in a file of its state directory.

The application file may have been edited since. Commands that change a part, such as `mesh scale`, start from
this and not from what somebody is still writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from meshwright.cli.application import Application, InstanceSpec, instances, with_gateway_ports, workloads
from meshwright.control_plane.api.private_files import read_private
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.schema import dump
from meshwright.sidecar.config import Workload
from meshwright.sidecar.files import write_private

APPLIED_FILE = "application.json"


class AppliedApplication(BaseModel):
    """An application and how much of it runs.

    `document` is that of `file`, with `ports` in place of its gateways' own. `only` and `scale` as in
    `application.instances`; the services in `stopped` have no instance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    document: dict[str, Any]
    ports: Mapping[str, int] = {}
    only: tuple[str, ...] = ()
    scale: Mapping[str, int] = {}
    stopped: frozenset[str] = frozenset()

    @property
    def application(self) -> Application:
        """The document."""
        return Application.model_validate(self.document)

    @property
    def name(self) -> str:
        """The application's name."""
        return self.application.metadata.name

    def check_same(self, other: AppliedApplication, state: Path) -> None:
        """Raise InputError unless `other` describes this application too, which runs in `state`."""
        if other.name != self.name:
            raise InputError(
                f"{state}: a mesh is already running here, with application {self.name}, not {other.name}: "
                "stop it with `mesh down`, or choose another --state"
            )

    @property
    def instances(self) -> tuple[InstanceSpec, ...]:
        """The processes to run; raises InputError for an option that names an unknown service."""
        desired = instances(self.application.spec, self.only, self.scale)
        return tuple(item for item in desired if item.entry.name not in self.stopped)

    @property
    def policy_paths(self) -> list[str]:
        """The files and folders of its policies."""
        return [str(self.file.parent / path) for path in self.application.spec.policies]

    @property
    def idle(self) -> Mapping[str, str]:
        """The services without an instance to run, sorted, each with the command that starts it."""
        spec = self.application.spec
        startable = {item.entry.name for item in instances(spec, scale=self.scale)}
        idle = {entry.name for entry in spec.services} - {item.entry.name for item in self.instances}
        return {
            name: f"mesh start {name}" if name in startable else f"mesh scale {name}=1"
            for name in sorted(idle)
        }

    def workloads(self, state: Path) -> tuple[Workload, ...]:
        """The agent's workloads in this state directory, each instance with its first name.

        Their paths are absolute: an app runs in the folder of its application file, and what a command gets
        from `--state` or a default is compared with what runs.
        """
        root = state.absolute()
        environment = {"DATA_DIR": str(root / "data")}
        folder = self.file.parent
        chosen = {gateway.name for gateway in self.application.spec.gateways} & self.ports.keys()
        result = workloads(self.application.spec, self.instances, folder, root / "tokens", environment)
        return tuple(
            workload.model_copy(update={"port_option": "--port"}) if workload.name in chosen else workload
            for workload in result
        )

    def with_running(self, services: Iterable[str]) -> AppliedApplication:
        """The same with these services among those that run."""
        names = set(services)
        only = tuple(sorted({*self.only, *names})) if self.only else ()
        return self.model_copy(update={"only": only, "stopped": self.stopped - names})

    def with_ports(self, ports: Mapping[str, int]) -> AppliedApplication:
        """The same with other ports for these gateways."""
        document = dump(with_gateway_ports(self.application, ports))
        return self.model_copy(update={"document": document, "ports": {**self.ports, **ports}})

    def save(self, state: Path) -> None:
        """Write it to the state directory."""
        write_private(state / APPLIED_FILE, self.model_dump_json(indent=1, exclude_defaults=True))


def applied_application(
    application: Application,
    file: Path,
    *,
    ports: Mapping[str, int],
    only: tuple[str, ...] = (),
    scale: Mapping[str, int] | None = None,
) -> AppliedApplication:
    """What these options make of an application; raises InputError for an unknown service."""
    applied = AppliedApplication(
        file=file.absolute(), document=dump(application), ports=ports, only=only, scale=scale or {}
    )
    _ = applied.instances  # checks the names
    return applied


def load_applied(state: Path) -> AppliedApplication | None:
    """What the mesh of a state directory is to run; None if that is not known."""
    try:
        return AppliedApplication.model_validate_json(read_private(state / APPLIED_FILE))
    except (FileNotFoundError, ValidationError):
        return None
