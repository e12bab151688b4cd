"""An open-loop load generator in a process of its own: requests come at their times, whoever waits for an answer.

python flood.py ADDRESS PATH BODY CONTENT_TYPE PER_S SECONDS prints, as JSON, a row for each request: when it was due in
seconds, the status of its answer (0: none came), and the ms from when it was due until then. A request that had to wait
for the generator itself waited for the service as far as this tells.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path

MOST = 900
"""Connections at the same time."""


class Flood:
    """Requests to one address over connections that stay open, as many as are needed."""

    def __init__(self, address: str, request: bytes) -> None:
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self._request = request
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._open = 0
        self.rows: list[tuple[float, int, float]] = []

    async def ask(self, due_s: float, began_s: float) -> None:
        """One request and its row."""
        status = 0
        with suppress(OSError, EOFError, TimeoutError, ValueError, IndexError):
            status = await asyncio.wait_for(self._answer(), 60)
        self.rows.append((due_s, status, 1000 * (time.perf_counter() - began_s - due_s)))

    async def _answer(self) -> int:
        if self._idle:
            reader, writer = self._idle.pop()
        elif self._open < MOST:
            self._open += 1
            reader, writer = await asyncio.open_connection(self._host, self._port)
        else:
            raise OSError("there are connections enough")
        keep = False
        try:
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            keep = b"connection: close" not in head
            return int(head.split(b" ", 2)[1])
        finally:
            if keep:
                self._idle.append((reader, writer))
            else:
                self._open -= 1
                writer.close()


async def pour(flood: Flood, per_s: float, seconds: float) -> None:
    """So many requests a second, for so long, and all answers to them."""
    began_s = time.perf_counter()
    asking = []
    for number in range(round(per_s * seconds)):
        due_s = number / per_s
        if (early_s := due_s - (time.perf_counter() - began_s)) > 0:
            await asyncio.sleep(early_s)
        asking.append(asyncio.create_task(flood.ask(due_s, began_s)))
        if number % 20 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*asking)


def main() -> None:
    """Does so."""
    address, path, body_file, content_type, per_s, seconds = sys.argv[1:]
    body = Path(body_file).read_bytes()
    lines = (
        f"POST {path} HTTP/1.1",
        f"Host: {address}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    )
    flood = Flood(address, "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)
    asyncio.run(pour(flood, float(per_s), float(seconds)))
    json.dump(flood.rows, sys.stdout)


if __name__ == "__main__":
    main()
