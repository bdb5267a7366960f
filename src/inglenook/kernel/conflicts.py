"""Conflicts on files and folders between two members (spec/05 §5.4-5.6).

What is received is a *chain*: revisions from the oldest to the received one. What the receiver will write is a
*pending* revision with its chain, or None: then the store gives a fresh local revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from inglenook.kernel.shared_tree import generation


class Outcome(Enum):
    """Who wins, seen from the receiver."""

    NO_CONFLICT = "no conflict"
    WON = "won"
    """The received change must be applied over the local one."""
    LOST = "lost"
    """The local state is kept."""


class Pending(NamedTuple):
    """The revision to write, and the chain that leads to it (its last element is `rev`)."""

    rev: str
    chain: tuple[str, ...]


class Stash(NamedTuple):
    """A pending revision split for two writes: what the first one takes, and what is kept for the second."""

    first: Pending | None
    kept: str | None


def detect(local_rev: str, chain: Sequence[str]) -> Outcome:
    """Compare the local revision with a received chain. The answer depends on nothing else."""
    if not chain:
        return Outcome.LOST
    if local_rev in chain:
        return Outcome.NO_CONFLICT
    received = chain[-1]
    return Outcome.WON if (generation(received), received) > (generation(local_rev), local_rev) else Outcome.LOST


def mixup(local_rev: str, chain: Sequence[str]) -> list[str]:
    """The history under which a received change is written: the local revision, then what is newer in the chain."""
    return [local_rev, *(rev for rev in chain if generation(rev) > generation(local_rev))]


def pending_for(local_rev: str, chain: Sequence[str]) -> Pending | None:
    """The revision to write when a received change is applied over `local_rev` (spec/05 §5.5).

    None for a change of the same generation that has won: it needs a fresh revision, which tells the other side."""
    if detect(local_rev, chain) is Outcome.WON and generation(chain[-1]) == generation(local_rev):
        return None
    history = mixup(local_rev, chain)
    return Pending(history[-1], tuple(history))


def increment(pending: Pending | None, random16: bytes) -> Pending | None:
    """Put one more revision on top, because the receiver changes something that the sender must learn."""
    if pending is None:
        return None
    rev = f"{generation(pending.rev) + 1}-{random16.hex()}"
    return Pending(rev, (*pending.chain, rev))


def stash(pending: Pending | None, *, is_new: bool) -> Stash:
    """Take the newest revision off, for a file that needs two writes (content, then place).

    It takes 3 revisions (2 for a new file); with fewer, both writes get fresh local revisions."""
    if pending is None or len(pending.chain) < (2 if is_new else 3):
        return Stash(None, None)
    chain = pending.chain[:-1]
    return Stash(Pending(chain[-1], chain), pending.rev)


def unstash(stashed: Stash) -> Pending | None:
    """The pending revision of the second write."""
    if stashed.first is None or stashed.kept is None:
        return None
    return Pending(stashed.kept, (*stashed.first.chain, stashed.kept))
