"""Prism: a server made from a provider's specification, which refuses what that does not allow."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.patience import PATIENCE

_PRISM = Path(__file__).resolve().parents[2] / ".prism" / "node_modules" / ".bin" / "prism"


def excerpt(specification: Path, folder: Path, *paths: str, security: bool = True) -> Path:
    """A specification of these paths alone, which Prism reads sooner; written into a folder.

    `security`: whether it says who may ask, which Prism judges.
    """
    whole = json.loads(specification.read_text())
    whole["paths"] = {path: whole["paths"][path] for path in paths}
    for operation in (each for path in whole["paths"].values() for each in path.values()):
        if not security:
            operation.pop("security", None)
    written = folder / specification.name
    written.write_text(json.dumps(whole))
    return written


@asynccontextmanager
async def prism(specification: Path) -> AsyncIterator[str]:
    """The address of a server that judges requests; skips where Prism is not installed."""
    if not _PRISM.exists():
        pytest.skip("Prism is not installed: install npm, and run scripts/test-deps")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        str(_PRISM), "mock", "-h", "127.0.0.1", "-p", str(port), str(specification),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            async for line in process.stdout:
                if b"is listening on" in line:
                    break
        assert process.returncode is None, "Prism ended"
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
