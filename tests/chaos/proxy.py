"""A TCP proxy that does to connections what networks do: reset them, or let them fall silent."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

HOST = "127.0.0.1"
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends RST, and what was not sent is gone
READ_BYTES = 65_536


class Proxy:
    """Between clients and the server that `url` names; clients connect to `uri`. One thread of its own does the work.

    `opened` and `closed` count clients' connections. A server that is away is shown to clients as a reset.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or HOST, parts.port or 5672)
        self._listener = socket.create_server((HOST, 0))
        port = self._listener.getsockname()[1]
        self.uri = parts._replace(netloc=f"{parts.username}:{parts.password}@{HOST}:{port}").geturl()
        self.opened = self.closed = 0
        self._writers: set[StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._flowing.set()
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._connected, sock=self._listener))
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def open(self) -> int:
        """How many clients are connected."""
        return self.opened - self.closed

    def reset(self) -> int:
        """Reset every connection, on both sides; how many clients had one."""
        return self._run(self._reset())

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Within, no byte passes and nobody is told, as if a cable were cut. What was sent meanwhile comes after."""
        self._loop.call_soon_threadsafe(self._flowing.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flowing.set)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    # Everything below runs on the proxy's thread.
    async def _connected(self, client: StreamReader, to_client: StreamWriter) -> None:
        self.opened += 1
        try:
            server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            reset(to_client)
        else:
            await self._pass_on((client, to_server), (server, to_client))
        self.closed += 1

    async def _pass_on(self, *ways: tuple[StreamReader, StreamWriter]) -> None:
        """Pass bytes on in both ways until one of them ends."""
        writers = {writer for _, writer in ways}
        self._writers |= writers
        tasks = [asyncio.create_task(self._copy(*way)) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._writers -= writers
        for writer in writers:
            writer.close()

    async def _copy(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()

    async def _reset(self) -> int:
        writers = list(self._writers)
        for writer in writers:
            reset(writer)
        return len(writers) // 2

    async def _stop(self) -> None:
        self._server.close()
        self._flowing.set()
        await self._reset()
        while self.open:
            await asyncio.sleep(0.01)


def reset(writer: StreamWriter) -> None:
    """End a connection as a crashed machine does, unless the other side was faster."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()
