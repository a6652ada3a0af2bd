"""A payment and a notification service that answer at once and remember what they were asked."""

from __future__ import annotations

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Partners:
    """Listens on loopback. `asked` counts calls by path and idempotency key."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        partners = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = self.headers["Idempotency-Key"]
                partners.asked[self.path, key] += 1
                answer = {"notificationId": key, "refundId": key, "status": "ACCEPTED"}
                answer |= {"bookingId": asked["bookingId"], "amount": asked.get("amount", 0)}
                self.answer({"success": True, "data": answer})

            def answer(self, body: dict[str, Any]) -> None:
                text = json.dumps(body).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_args: object) -> None:
                """The run's own report is enough."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def keys(self, path: str) -> set[str]:
        return {key for asked, key in self.asked if asked == path}
