"""Scenarios one after the other, or side by side in several processes; what became of them comes in their order."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import structlog

from .play import play

Played = Generator[tuple[str, str | None]]
"""Seeds, and what is broken in each."""


class Tale(NamedTuple):
    """What is told of a scenario while it is played."""

    story: bool = False
    wire: bool = False


def prepare(*, verbose: bool) -> None:
    """Get a process ready to play."""
    if not verbose:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    gc.freeze()  # what all scenarios have in common is not looked through again and again
    gc.set_threshold(50_000, 20, 100)


def in_turn(seeds: Sequence[str], tale: Tale) -> Played:
    """Play seeds one after the other."""
    for seed in seeds:
        yield seed, play(seed, story=tale.story, wire=tale.wire)


def side_by_side(seeds: Sequence[str], processes: int) -> Played:
    """Play seeds in several processes. When it is closed, those under way are played to their end, and no others."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)
    try:
        yield from zip(seeds, executor.map(play, seeds), strict=True)
    finally:
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has started this one
    prepare(verbose=False)
