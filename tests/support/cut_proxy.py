"""A TCP proxy before the test's server that ends all connections after a number of bytes."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

RESET = struct.pack("ii", 1, 0)  # no lingering: the end is a reset, as if the host were gone


class CutProxy:
    """After ``after`` bytes of all connections, both ways, cut everything off and accept no new connection.

    With ``after`` None nothing is cut, and ``passed`` counts the bytes. ``reset``: end with a reset, not in order.
    """

    def __init__(self, host: str, port: int, *, after: int | None = None, reset: bool = False) -> None:
        self._server = (host, port)
        self._after, self._reset = after, reset
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.passed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> CutProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._sockets += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                with self._lock:
                    left = len(data) if self._after is None else min(len(data), max(self._after - self.passed, 0))
                    self.passed += left
                target.sendall(data[:left])
                if left < len(data):
                    self._cut()
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _cut(self) -> None:
        # shutdown before close: only then does the thread that waits in accept go on
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for end in self._sockets:
                with suppress(OSError):
                    if self._reset:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    # wakes the thread that reads from it; that thread would keep it open
                    end.shutdown(socket.SHUT_RD if self._reset else socket.SHUT_RDWR)
                end.close()
            self._sockets.clear()
