"""A way between two servers that counts what goes over it, and can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading

PIECE = 65536


class Proxy:
    """Listens at `port` and passes everything on to `target` (a port). `sent` are the bytes towards it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.sent = 0
        self.cuts = 0
        self._left: int | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int) -> None:
        """Cut the connection over which so many more bytes have gone."""
        with self._lock:
            self._left = count

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                for one, other, counted in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=(one, other, counted), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                if counted and self._is_cut(len(data)):
                    source.shutdown(socket.SHUT_RDWR)
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_cut(self, count: int) -> bool:
        with self._lock:
            self.sent += count
            if self._left is None:
                return False
            self._left -= count
            if self._left > 0:
                return False
            self._left = None
            self.cuts += 1
            return True
