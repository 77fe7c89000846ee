"""`python -m broadcaster.ready`: whether the process on BROADCASTER_PORT is ready, and why not.

For health checks, which ask again and again: nothing is loaded but Python's own HTTP client.
"""

from __future__ import annotations

import http.client
import os
import sys

#: Seconds within which the process must have answered.
PATIENCE = 5


def ask(port: int) -> tuple[bool, str]:
    """Whether it is ready, and what it says of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status == 200, answer.read().decode()
    except (OSError, http.client.HTTPException) as problem:
        return False, f"It does not answer: {problem}."
    finally:
        connection.close()


if __name__ == "__main__":
    ready, told = ask(int(os.environ["BROADCASTER_PORT"]))
    print(told)
    sys.exit(0 if ready else 1)
