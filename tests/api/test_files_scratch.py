"""Copies of contents that are worked on: gone after the work, and swept when a process died with them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from inglenook.environment import Config, Environment
from inglenook.files import scratch


def test_a_folder_is_gone_after_its_context_whatever_happens(tmp_path: Path) -> None:
    env = Environment(Config(data=tmp_path))

    def work() -> None:
        with scratch.scratch_folder(env, "work-") as folder:
            (folder / "copy").write_bytes(b"x")
            raise OSError("no luck")

    with pytest.raises(OSError, match="no luck"):
        work()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_dead_process_left_is_swept_and_work_going_on_is_not(tmp_path: Path) -> None:
    env = Environment(Config(data=tmp_path))
    scratch.sweep(env)
    old = tmp_path / "scratch" / "old"
    with scratch.scratch_folder(env, "work-") as folder:
        old.mkdir()
        (old / "copy").write_bytes(b"x")
        then = (env.clock.now() - scratch.OLD - timedelta(minutes=1)).timestamp()
        os.utime(old, (then, then))
        scratch.sweep(env)
        assert list((tmp_path / "scratch").iterdir()) == [folder]
