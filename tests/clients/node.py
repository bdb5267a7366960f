"""Scripts in a Node process, for tests: what they return comes back as JSON."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.clients.packages import FOLDER, NODE
from tests.servers import Person


class ClientError(Exception):
    """What a script in the client threw."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error.get("message") or error["name"])
        self.status = error["status"]
        self.name = error["name"]


class Node:
    """A Node process with a client, that acts for a person."""

    def __init__(self, script: str, person: Person, token: str, *arguments: str) -> None:
        self.token = token
        self._process = subprocess.Popen(
            [NODE, script, person.url, token, *arguments],
            cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, code: str, **args: Any) -> Any:
        """The value that a script returns. Raises ClientError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"code": code, "args": args}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client process ended"
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
