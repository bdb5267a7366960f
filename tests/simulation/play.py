"""Plays a scenario by its seed. The seed names the kind: `17` is one folder of three people, `crowd-17` a crowd,
`storm-17` a crowd that does more things in worse weather, `mixed-17` a crowd with a server of another make in it, with
large files and requests that come late once more, `town-17` one in which people move and go, come by groups and by
other members, and change what they may only read."""

from __future__ import annotations

import asyncio

from inglenook.kernel.errors import DomainError

from .crowd import Crowd, CrowdPlan
from .deeds import Broken
from .network import Faults
from .scenario import Plan, Scenario
from .town import Town
from .virtual_time import NothingLeft, VirtualLoop

KINDS = ("", "crowd-", "storm-", "mixed-", "town-")
TOWN = CrowdPlan(
    people=(3, 3, 4, 4), steps=32, memberships=0.12,
    faults=Faults(lost_requests=0.03, lost_answers=0.04, longest_delay=2.0),
)  # fmt: skip
MIXED = CrowdPlan(
    steps=30, other_makes=True, large=True,
    faults=Faults(lost_requests=0.03, lost_answers=0.05, longest_delay=2.0, repeated=0.05, broken_bodies=0.3),
)  # fmt: skip
STORM = CrowdPlan(
    steps=60, crashes=0.06, cuts=0.12, memberships=0.04,
    faults=Faults(lost_requests=0.08, lost_answers=0.08, longest_delay=4.0),
)  # fmt: skip


def scenario_of(seed: str, loop: VirtualLoop) -> Scenario | Crowd:
    """The scenario that a seed names."""
    if seed.startswith("storm-"):
        return Crowd(seed, STORM, loop)
    if seed.startswith("town-"):
        return Town(seed, TOWN, loop)
    if seed.startswith("mixed-"):
        return Crowd(seed, MIXED, loop)
    return Crowd(seed, CrowdPlan(), loop) if seed.startswith("crowd-") else Scenario(seed, Plan(), loop)


def play(seed: str, *, story: bool = False, wire: bool = False) -> str | None:
    """Run one seed; None when all is well, else what is broken with the story that led there.

    With `story` it is printed in any case; with `wire` it has all requests between servers that have arrived."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    scenario = scenario_of(seed, loop)
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
