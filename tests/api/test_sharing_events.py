"""What listeners hear of sharings (spec/04 §23.4, spec/11 §4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.sharing_town import (
    ALL,
    TESTS,
    Body,
    Scripted,
    Town,
    carol2,
    contact,
    create,
    people,
    rule,
    share,
    state_of,
    town,
    update,
)
from tests.api.test_realtime import Ear, ear

__all__ = ["carol2", "town"]

pytestmark = pytest.mark.anyio
STATUS = "io.cozy.sharings.status"
SECRETS = ("credentials", "xor_key", "a-token", "r-token", "carol2-client")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def heard(listener: Ear, state: str) -> Body:
    """The next status in which the first member is in a state."""
    while True:
        payload: dict[str, Any] = (await listener.hear())["payload"]
        assert payload["type"] == STATUS, payload
        assert not any(secret in str(payload) for secret in SECRETS)
        if payload["doc"]["members"][1]["state"] == state:
            return payload["doc"]


async def test_the_status_of_a_sharing_is_told_while_it_changes(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    run = asyncio.to_thread
    id = await run(create, alice, TESTS, {"text": "hello"})
    invited = await run(contact, alice, "carol2", email=carol2.email, url=carol2.url)
    sharing = await run(share, alice, people(invited), [rule(id)])
    async with ear(alice, alice.token(TESTS)) as listener:
        await listener.subscribe(STATUS, sharing)
        await listener.settle()
        await run(carol2.join, alice, sharing)
        settled = await heard(listener, "up_to_date")
        assert (settled["_id"], settled["members"][1]["name"]) == (sharing, "carol2")
        carol2.on("POST", f"/sharings/{sharing}/", (503, None))
        await run(update, alice, TESTS, id, text="changed")
        away = await heard(listener, "unreachable")
        assert away["members"][1]["pending"]["documents"] == 1
        carol2.script.clear()
        answer = await run(alice.post, f"/sharings/{sharing}/recipients/1/retry", *ALL)
        assert answer.status_code == 204
        await heard(listener, "up_to_date")


async def test_nobody_listens_to_the_status_of_what_he_may_not_read(town: Town) -> None:
    alice = town.alice
    sharing = await asyncio.to_thread(share, alice, people(await asyncio.to_thread(contact, alice, "bob2")))
    async with ear(alice, alice.token("io.cozy.contacts")) as listener:
        await listener.subscribe(STATUS, sharing)
        assert (await listener.hear())["payload"]["status"] == "403 Forbidden"
        await listener.subscribe(STATUS)
        assert (await listener.hear())["payload"]["status"] == "403 Forbidden"


async def test_the_events_of_a_sharing_carry_no_secret(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    run = asyncio.to_thread
    async with ear(alice, alice.token("io.cozy.sharings")) as listener:
        await listener.subscribe("io.cozy.sharings")
        await listener.settle()
        invited = await run(contact, alice, "carol2", email=carol2.email, url=carol2.url)
        sharing = await run(share, alice, people(invited))
        created = await listener.hear()
        assert (created["event"], created["payload"]["id"]) == ("CREATED", sharing)
        await run(carol2.join, alice, sharing)
        state = await run(state_of, alice, sharing)
        answer = await run(alice.delete, f"/sharings/{sharing}/recipients", *ALL)
        assert answer.status_code == 204
        frames = [created]
        while frames[-1]["payload"]["doc"].get("active"):
            frames.append(await listener.hear())
        assert [member["status"] for member in frames[-1]["payload"]["doc"]["members"]] == ["owner", "revoked"]
        for secret in (*SECRETS, state):
            assert secret not in str(frames)
