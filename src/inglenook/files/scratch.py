"""Folders for work on copies of contents: in the data folder, where a crash leaves nothing that is not swept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from inglenook.environment import Environment

OLD = timedelta(hours=6)
"""What nobody has touched for so long was left by a process that died."""


@contextmanager
def scratch_folder(env: Environment, prefix: str) -> Generator[Path]:
    """An empty folder, gone with the context."""
    place = _place(env)
    place.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place) as name:
        yield Path(name)


def sweep(env: Environment) -> None:
    """Remove what was left by processes that died."""
    before = (env.clock.now() - OLD).timestamp()
    with suppress(FileNotFoundError):
        for folder in list(_place(env).iterdir()):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _place(env: Environment) -> Path:
    return env.config.data / "scratch"
