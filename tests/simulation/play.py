"""Plays a scenario by its seed. The seed names the kind: `crowd-17` is a crowd, `17` one folder of three people."""

from __future__ import annotations

import asyncio

from inglenook.kernel.errors import DomainError

from .crowd import Crowd, CrowdPlan
from .deeds import Broken
from .scenario import Plan, Scenario
from .virtual_time import NothingLeft, VirtualLoop

CROWD = "crowd-"


def play(seed: str, *, story: bool = False, wire: bool = False) -> str | None:
    """Run one seed; None when all is well, else what is broken with the story that led there.

    With `story` it is printed in any case; with `wire` it has all requests between servers that have arrived."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    crowd = seed.startswith(CROWD)
    scenario = Crowd(seed, CrowdPlan(), loop) if crowd else Scenario(seed, Plan(), loop)
    if wire:
        scenario.world.network.trace = scenario.deeds.tell
    try:
        loop.run_until_complete(scenario.run())
    except (Broken, NothingLeft, AssertionError, DomainError) as broken:
        told = "\n".join(scenario.deeds.story)
        return f"seed {seed}: {type(broken).__name__}: {broken}\n{told}"
    finally:
        if story:
            print("\n".join(scenario.deeds.story))
        loop.run_until_complete(scenario.world.end())
        loop.close()
        asyncio.set_event_loop(None)
    return None
