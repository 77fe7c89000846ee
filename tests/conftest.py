"""What tests of every folder share: the servers start when the first test asks for them."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import jinja2
import pytest
from hypothesis import settings

from tests.compiled import keep_compiled
from tests.kafka import kafka
from tests.postgres import patient, postgres

__all__ = ["kafka", "patient", "postgres"]

# A busy machine makes no example false: how fast something is stands in the benches.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
settings.register_profile("quick", settings(), max_examples=20)  # what `make quick` asks for

keep_compiled()

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def pytest_collection_finish() -> None:
    """What was collected stays to the end: to look through it for garbage, again and again, takes a
    fifth of all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def corpus_folder() -> Path:
    """Where real input is, if it is: at $BROADCASTER_CORPUS or beside the repository."""
    return Path(os.environ.get("BROADCASTER_CORPUS") or _BESIDE_THE_REPOSITORY)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> jinja2.BytecodeCache:
    """The desk's templates, for the desks of all tests: compiling them is half of a test's time."""
    return jinja2.FileSystemBytecodeCache(str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real input."""
    folder = corpus_folder()
    if not folder.is_dir():
        pytest.skip(f"no corpus at {folder}: set BROADCASTER_CORPUS to the folder that holds it")
    return folder
