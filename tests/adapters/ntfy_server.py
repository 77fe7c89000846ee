"""What the documents say of an ntfy server: no real one can be had here (the Go proxy has none).

One topic, which everybody may read and one user may write to; docs.ntfy.sh, "Publishing",
"Subscribe via API" and "Limitations", the errors' codes by server/errors.go.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from tests.faults.receiver import Request, Way, answers

#: A body of so many bytes becomes an attachment.
ATTACHMENT = 4_096


class NtfyServer:
    """Answers requests, and keeps what was published. `users`: by token, whether each may write.

    It takes `burst` messages, and has no clock by which there would be room for more.
    """

    def __init__(self, topic: str, users: dict[str, bool]) -> None:
        self.kept: list[dict[str, Any]] = []
        self.topic = topic
        self.burst = 60
        self._users = users
        self._ids = (f"hwQ2YpKdm{number:03}" for number in itertools.count())

    def answer(self, request: Request) -> Way:
        path, _, query = request.path.partition("?")
        if path.endswith(f"/{self.topic}/json") and query == "poll=1&since=all":
            lines = "".join(json.dumps(each) + "\n" for each in self.kept)
            return answers(200, body=lines.encode(), acts=False)
        if not path.endswith(f"/{self.topic}"):
            return refuses(404, 40401, "page not found")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self._users:
            return refuses(401, 40101, "unauthorized")
        if not self._users.get(token):
            return refuses(403, 40301, "forbidden")
        if len(self.kept) >= self.burst:
            return refuses(429, 42901, "limit reached: too many requests")
        return answers(200, body=json.dumps(self._publish(request)).encode())

    def _publish(self, request: Request) -> dict[str, Any]:
        headers = request.headers
        message = {
            "id": next(self._ids), "time": 1795384800, "expires": 1795428000, "event": "message",
            "topic": self.topic, "message": request.body.decode().strip(),
            "sequence_id": headers["x-sequence-id"], "click": headers["x-click"],
        }  # fmt: skip
        if len(request.body) >= ATTACHMENT:
            message["message"] = "You received a file: attachment.txt"
            message["attachment"] = {"name": "attachment.txt", "size": len(request.body)}
        self.kept.append(message)
        return message


def refuses(status: int, code: int, error: str) -> Way:
    return answers(status, body=said(status, code, error))


def said(status: int, code: int, error: str) -> bytes:
    """An error, as the server words it."""
    return json.dumps({"code": code, "http": status, "error": error}).encode()
