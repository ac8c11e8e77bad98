"""A network that breaks: a proxy that cuts every connection now and then, and takes new ones at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxy:
    address: str
    cuts: int = 0  # of connections that were open
    open_sockets: set[socket.socket] = field(default_factory=set)


@contextmanager
def severing_proxy(target: str, seconds_between_cuts: float) -> Iterator[Proxy]:
    """Passes bytes on to `target` (http://HOST:PORT), both ways."""
    to = urlsplit(target)
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}")
    stopped = threading.Event()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((to.hostname, to.port))
                proxy.open_sockets |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=(source, sink), daemon=True).start()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
        for end in (source, sink):
            proxy.open_sockets.discard(end)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut() -> None:
        while not stopped.wait(seconds_between_cuts):
            proxy.cuts += bool(proxy.open_sockets)
            for end in list(proxy.open_sockets):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    threads = [threading.Thread(target=accept, daemon=True), threading.Thread(target=cut, daemon=True)]
    for thread in threads:
        thread.start()
    try:
        yield proxy
    finally:
        stopped.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(timeout=10)
