"""The disk takes nothing more, or no longer keeps what it took: nothing is half done, none lost."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.connected.installation import Embedded, Json, until
from tests.connected.production import Production, Servers
from tests.faults.judging import Story, faults, told_to_come_again
from tests.faults.watching import page, streams
from tests.kafka import Cluster
from tests.postgres import Server, server

#: Makes what was broken whole again.
Mend = Callable[[], None]


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own for a folder."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Mend:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 256):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return filler.unlink


# --- SQLite -----------------------------------------------------------------------------------


def limit_files(at: Embedded) -> Mend:
    """No file of the child's may grow or be written beyond its first bytes."""
    pid = at.pid("child")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))

    def mend() -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    return mend


#: Calls that ask the disk to keep what it took fail while a file is there, as from a broken disk.
FSYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int kept(const char *name, int fd) {
    const char *broken = getenv("FSYNC_FAILS");
    if (broken && access(broken, F_OK) == 0) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return kept("fsync", fd); }
int fdatasync(int fd) { return kept("fdatasync", fd); }
"""


def breakable(folder: Path) -> dict[str, str]:
    """What a process must have in its environment for its disk to break."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler is here to make a disk that breaks")
    library = folder / "fsync.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"],
                   input=FSYNC.encode(), check=True)  # fmt: skip
    return {"LD_PRELOAD": str(library), "FSYNC_FAILS": str(folder / "broken")}


def break_disk(at: Embedded) -> Mend:
    broken = Path(at.environment["FSYNC_FAILS"])
    broken.touch()
    return broken.unlink


BREAKS: dict[str, Callable[[Embedded], Mend]] = {
    "full": lambda at: fill(at.home), "limited": limit_files, "broken": break_disk,
}  # fmt: skip


@contextlib.asynccontextmanager
async def on_disk(how: str) -> AsyncIterator[Embedded]:
    """An installation whose disk can be made to refuse."""
    async with Embedded.fresh(
        receivers={"county": True, "school": False}, start=False, sweep_seconds=0.5
    ) as at:
        if how == "broken":
            at.environment.update(breakable(at.home.parent))
        with small_disk(at.home, "4m") if how == "full" else contextlib.nullcontext():
            try:
                await at.start()
                yield at
            finally:
                await at.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken() -> dict[str, asyncio.Task[None]]:
    """All at once: most of each is that deliver waits for stops, once the ledger is back."""
    return {how: asyncio.create_task(takes_nothing_more(how)) for how in BREAKS}


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits of a process that runs")
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("how", BREAKS)
async def test_the_disk_takes_nothing_more(how: str, broken: dict[str, asyncio.Task[None]]) -> None:
    await broken[how]


async def takes_nothing_more(how: str) -> None:
    async with on_disk(how) as at:
        story = Story(at)
        incident_id = at.incident_of(await story.report())
        await at.commanded(incident_id)
        request = await at.submit(await at.suggested(incident_id))
        await at.drained()
        mend = BREAKS[how](at)
        refused = [at.report() for _ in range(5)]
        for report in refused:
            answer = await at.send_once(at.bytes_of(report), report["id"])
            told_to_come_again(answer)
            assert "disk" in answer.body["why"]
        ready = await at.get("/readyz")
        assert (ready.status, ready.body["ready"]) == (503, False) and "disk" in ready.body["why"]
        assert (await at.get("/healthz")).status == 200
        assert "</html>" in await page(at), "what is there can be read"
        mend()
        for report in refused:  # as CAD does, since it was told to
            await story.report(**report)
        await story.decide(request)
        await at.settled(request)
        assert await streams(at) == "run"
        assert all("Traceback" not in line for line in at.log.read_text().splitlines())
        assert faults(await story.case()) == [], "no half state"


# --- PostgreSQL -------------------------------------------------------------------------------


@pytest.fixture
def small_postgres() -> Iterator[tuple[Server, Path]]:
    """A server whose tables lie on a small disk, and that disk."""
    with server() as own:
        small = own.folder / "small"
        with small_disk(small, "16m"):
            if own.user:
                shutil.chown(small, own.user)
            with own.outside() as admin:
                admin.execute(f"CREATE TABLESPACE small LOCATION '{small}'")  # type: ignore[arg-type]
            own.stop()
            own.start("default_tablespace=small")
            yield own, small
            own.stop()


async def test_the_disk_of_postgresql_is_full(
    small_postgres: tuple[Server, Path], kafka: Cluster
) -> None:
    own, small = small_postgres
    async with Production.fresh(
        on=Servers(own, kafka.bootstrap), receivers={"county": True, "school": False},
        sweep_seconds=0.5,
    ) as at:  # fmt: skip
        story = Story(at)
        request = await story.asked(await story.opened())
        await at.drained()
        mend = fill(small)
        report = await until("a report is refused", lambda: one_refused(story))
        assert "</html>" in await page(at), "what is there can be read"
        assert (await at.get("/healthz")).status == 200
        key = str(uuid.uuid4())
        tapped = await at.tap(request, "approved", key=key)
        if not tapped.good:
            told_to_come_again(tapped)
        mend()
        await story.report(**report)
        await story.decide(request, key)
        await at.settled(request)
        await at.ready()
        assert faults(await story.case()) == [], "no half state"


async def one_refused(story: Story) -> Json | None:
    """Sends a report, of which some still find room; gives it if it was refused."""
    report = story.at.report()
    answer = await story.at.send_once(story.at.bytes_of(report), report["id"])
    if answer.good:
        story.reports.append(story.at.id_of(report))
        return None
    told_to_come_again(answer)
    assert "No space left on device" in answer.body["why"]
    return report
