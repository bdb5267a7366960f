"""Where the servers of the tests keep their data: `pytest --backend …`.

`embedded` is the default: a folder. `workers` gives each server process two workers over its folder. `distributed` puts
the data into PostgreSQL, an object store and Redis, which run as long as the tests; each server has a part of its own.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

NAMES = ("embedded", "workers", "distributed")


class Backend:
    """The chosen backend. `keys` are those of the configuration that a server with this data folder gets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._servers = ExitStack()
        self._urls: tuple[str, str, str] | None = None

    def keys(self, folder: Path) -> dict[str, str]:
        """For any server."""
        if self.name != "distributed":
            return {}
        from tests import services

        if self._urls is None:
            enter = self._servers.enter_context
            self._urls = (enter(services.postgres()), enter(services.object_store()), enter(services.redis()))
        postgres, objects, redis = self._urls
        own = int(hashlib.sha256(str(folder).encode()).hexdigest(), 16) % services.REDIS_DATABASES
        return {
            "database_url": services.schema_url(postgres, folder),
            "blobs_url": services.objects_url(objects, folder),
            "bus_url": f"{redis.rpartition('/')[0]}/{own}",
        }

    @property
    def processes(self) -> int:
        """How many processes such a server consists of."""
        return 2 if self.name == "workers" else 1

    def environ(self, folder: Path) -> dict[str, str]:
        """For a server that is a process of its own."""
        keys = self.keys(folder) | ({"workers": str(self.processes)} if self.processes > 1 else {})
        return {f"INGLENOOK_{name.upper()}": value for name, value in keys.items()}

    def stop(self) -> None:
        """End the servers that hold the data."""
        self._servers.close()


chosen = Backend("embedded")


def choose(name: str) -> None:
    """Take another backend, for all tests of this process."""
    global chosen
    chosen = Backend(name)
