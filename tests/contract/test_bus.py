"""Wake-ups and short-lived values."""

from __future__ import annotations

import pytest

from inglenook.storage.bus import Bus, Ephemeral

from .backends import SteppedClock

pytestmark = pytest.mark.anyio


async def test_a_value_ends_by_itself() -> None:
    clock = SteppedClock()
    values = Ephemeral(clock)
    await values.put("k", {"path": "/x"}, 60)
    assert await values.get("k") == {"path": "/x"}
    clock.step(59)
    await values.put("other", 1, 60)
    assert await values.get("k") == {"path": "/x"}
    clock.step(1)
    assert await values.get("k") is None
    assert await values.get("other") == 1


async def test_a_value_put_again_lives_as_long_as_it_was_told_last() -> None:
    clock = SteppedClock()
    values = Ephemeral(clock)
    await values.put("k", "first", 10)
    await values.put("k", "second", 100)
    clock.step(50)
    await values.put("other", None, 1)
    assert await values.get("k") == "second"


async def test_a_value_is_taken_once() -> None:
    values = Ephemeral(SteppedClock())
    await values.put("k", "v", 60)
    assert [await values.take("k"), await values.take("k"), await values.get("k")] == ["v", None, None]
    await values.put("k", "v", 60)
    await values.delete("k")
    await values.delete("k")
    assert await values.get("k") is None


async def test_a_value_is_a_copy() -> None:
    values, list_ = Ephemeral(SteppedClock()), [1]
    await values.put("k", list_, 60)
    list_.append(2)
    assert await values.get("k") == [1]


async def test_the_number_of_values_is_bounded_and_the_next_to_end_go_first() -> None:
    clock = SteppedClock()
    values = Ephemeral(clock, most=3)
    for number, ttl in enumerate((40, 10, 30, 20, 50)):
        await values.put(f"k{number}", number, ttl)
    assert [await values.get(f"k{number}") for number in range(5)] == [0, None, 2, None, 4]
    for _ in range(100):
        await values.put("again", 1, 60)
    assert await values.get("again") == 1


async def test_wake_ups_reach_those_who_listen() -> None:
    bus, seen = Bus(), list[tuple[str, int]]()
    end = bus.listen("alice", lambda number: seen.append(("first", number)))
    bus.listen("alice", lambda number: seen.append(("second", number)))
    bus.listen("bob", lambda number: seen.append(("bob", number)))
    bus.wake("alice", 7)
    end()
    end()
    bus.wake("alice", 8)
    bus.wake("carol", 9)
    assert seen == [("first", 7), ("second", 7), ("second", 8)]
