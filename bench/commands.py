"""Servers whose operator's commands go straight to the control socket: no process is started for each of hundreds."""

from __future__ import annotations

import asyncio

import msgspec

from inglenook.cli import control
from inglenook.demo.processes import ServerFailed, ServerProcess


class CommandedServer(ServerProcess):
    """A server process that is told commands by this process."""

    async def command(self, *words: str) -> str:
        """As `ServerProcess.command`, for a running server. Raises ServerFailed."""
        reader, writer = await asyncio.open_unix_connection(self.data / control.NAME)
        try:
            request = msgspec.json.encode(control.vars_of(control.Request(list(words), str(self.data))))
            writer.write(b"J" + len(request).to_bytes(4, "big") + request)
            said: dict[bytes, bytes] = {b"O": b"", b"E": b""}
            while True:
                head = await reader.readexactly(5)
                letter, payload = head[:1], await reader.readexactly(int.from_bytes(head[1:], "big"))
                if letter == b"X":
                    break
                said[letter] += payload
        finally:
            writer.close()
        if int(payload):
            raise ServerFailed(f"inglenook {' '.join(words)}: {said[b'E'].decode().strip()}")
        return said[b"O"].decode().strip()
