"""A small HTTP server for the tests of downloads, with every fault that a real one may have."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Served:
    """What the server offers and how badly it behaves; `seen` keeps the Range of every request.

    cuts : for each request in turn, after how many bytes of the body the connection is closed; then no more cuts.
    """

    content: bytes
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    tag: str | None = '"one"'
    stall: float = 0.0
    length: bool = True
    address: str = ""
    seen: list[str | None] = field(default_factory=list)


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve until the block ends; every path gives the same file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            served.seen.append(asked)
            if served.statuses and (status := served.statuses.pop(0)) != 200:
                self.send_error(status)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and served.ranges else 0
            if self.headers.get("If-Range", served.tag) != served.tag:
                start = 0
            if start and start >= len(served.content):
                self.send_error(416)
                return
            body = served.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
            if served.tag:
                self.send_header("ETag", served.tag)
            if served.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = served.cuts.pop(0) if served.cuts else len(body)
            self.wfile.write(body[:cut])
            self.wfile.flush()
            time.sleep(served.stall)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    served.address = f"http://127.0.0.1:{server.server_port}/file"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
