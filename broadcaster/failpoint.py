"""Named places where a test may have the process killed, to see what is left behind.

`BROADCASTER_FAILPOINTS` names a file; each of its lines arms one place. Whichever process comes to
such a place first takes the line out of the file and gets SIGKILL: so each fires once, and the
next process goes on. Commits are named by what they put on the record
(`before_commit:DecisionRecorded`), publishing by its topic, sends by their channel, calls by their
means.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterable
from pathlib import Path

FILE = os.environ.get("BROADCASTER_FAILPOINTS")


def reach(place: str, names: Iterable[str]) -> None:
    """Ends this process, at once and without a trace, if `place` with one of `names` is armed."""
    if FILE is not None and _disarmed(Path(FILE), {f"{place}:{name}" for name in names}):
        os.kill(os.getpid(), signal.SIGKILL)


def _disarmed(path: Path, reached: set[str]) -> bool:
    """Whether one of the places was armed; it is not any more."""
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several processes read the same one
        armed = file.read().splitlines()
        found = next((line for line in armed if line in reached), None)
        if found is None:
            return False
        armed.remove(found)
        file.seek(0)
        file.truncate()
        file.write("".join(f"{line}\n" for line in armed))
        return True
