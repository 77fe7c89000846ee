"""`python -m broadcaster.ready`: whether the process at BROADCASTER_HOST and _PORT is ready.

For health checks, which ask again and again: nothing is loaded but Python's own HTTP client.
"""

from __future__ import annotations

import http.client
import os
import sys

#: Seconds within which the process must have answered.
PATIENCE = 5


def ask(host: str, port: int) -> tuple[bool, str]:
    """Whether it is ready, and what it says of it. A host of 0.0.0.0 is this machine."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status == 200, answer.read().decode()
    except (OSError, http.client.HTTPException) as problem:
        return False, f"It does not answer: {problem}."
    finally:
        connection.close()


if __name__ == "__main__":
    host, port = os.environ.get("BROADCASTER_HOST", "127.0.0.1"), os.environ["BROADCASTER_PORT"]
    ready, told = ask(host, int(port))
    print(told)
    sys.exit(0 if ready else 1)
