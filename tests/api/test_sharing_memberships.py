"""What is known of a member ends with his membership: who comes again gets everything anew (spec/05 §4.1, §19).
Somebody whose server does not know the sharing any more is out, after a while (spec/08 §10.5)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.api.sharing_town import (
    ALL,
    TESTS,
    Body,
    Scripted,
    Town,
    add,
    carol2,
    contact,
    create,
    eventually,
    mail_to,
    member,
    people,
    rule,
    share,
    town,
)

from inglenook.kernel import xor
from inglenook.replication.line import Line, Replaced
from inglenook.replication.link_state import load_state, save_state
from inglenook.replication.sender import Sender
from inglenook.sharing import documents, tracking
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.web.runtime import Runtime

__all__ = ["carol2", "town"]

KEY = bytes(range(16))


def joined(town: Town, carol2: Scripted) -> tuple[str, str]:
    """A document of alice's that carol2 has, and its sharing."""
    alice = town.alice
    id = create(alice, TESTS, {"text": "hello"})
    sharing = share(alice, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)), [rule(id)])
    carol2.join(alice, sharing)
    carol2.got("POST", f"/sharings/{sharing}/_bulk_docs$")
    return id, sharing


def test_what_is_written_late_is_not_found_by_who_comes_again(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    _, sharing = joined(town, carol2)
    store = alice.instance.store
    line = Line(alice.instance, sharing, 1)

    async def begin(_: Runtime) -> None:
        await line.load()
        await line.sharing()

    async def write_late(_: Runtime) -> None:
        line.state.phase = "steady"
        await line.keep_state()
        await line.write_down(f"{TESTS}/late", "refused with 413: no room")

    def known(view: Reader) -> tuple[str, int]:
        return load_state(view, sharing, 1).phase, len(view.records(line.kind))

    alice.server.do(begin)
    assert alice.delete(f"/sharings/{sharing}/recipients/1", *ALL).status_code == 204
    alice.server.do(write_late)
    assert alice.server.do(lambda _: store.read(known)) == ("folders", 0)


def test_who_comes_again_at_once_gets_everything_under_his_new_ids(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    id, sharing = joined(town, carol2)
    store = alice.instance.store
    line = Line(alice.instance, sharing, 1)

    def replace(tx: Writer) -> None:
        """Carol2 goes and comes again before anybody looks."""
        current = documents.load(tx, sharing)
        tracking.forget_member(tx, sharing, 1)
        current.credentials[0].xor_key = KEY
        documents.save(tx, current)

    async def act(_: Runtime) -> bool:
        await line.sharing()
        await store.write(replace)
        try:
            await line.sharing()
        except Replaced:
            return True
        return False

    assert alice.server.do(act)

    def sent() -> list[Body]:
        bulks = [call.json for call in carol2.calls if call.path.endswith("/_bulk_docs")]
        return [document for bulk in bulks for document in bulk.get(TESTS, ())]

    hidden = xor.xor_id(id, KEY)
    eventually(lambda: [one for one in sent() if one["_id"] == hidden], "the document under its new id")


def until_steady(town: Town, sharing: str) -> None:
    """The first copy is over, and that is noted."""
    alice = town.alice

    def phase() -> str:
        return alice.server.do(lambda _: alice.instance.store.read(lambda view: load_state(view, sharing, 1).phase))

    eventually(lambda: phase() == "steady", "the end of the first copy")


def found_shut(town: Town, sharing: str, *, hours: float, times: int = 3) -> None:
    """For so long, carol2's server has answered as if it did not know the sharing; then alice's server looks again."""
    alice = town.alice
    now = alice.instance.env.clock.now().timestamp()

    def note(tx: Writer) -> None:
        state = load_state(tx, sharing, 1)
        state.shut, state.shut_since = times, now - hours * 3600
        save_state(tx, sharing, 1, state)

    async def look(_: Runtime) -> None:
        await alice.instance.store.write(note)
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await Sender(alice.instance, sharing, 1).run()

    alice.server.do(look)


def test_who_is_not_known_for_a_day_is_out_and_the_owner_is_told(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    _, sharing = joined(town, carol2)
    until_steady(town, sharing)
    carol2.on("POST", f"/sharings/{sharing}/", (404, {"errors": [{"status": "404", "title": "not_found"}]}))
    found_shut(town, sharing, hours=23)
    assert member(alice, sharing)["status"] == "ready", "a server may be out of order for a while"
    found_shut(town, sharing, hours=25)
    out = member(alice, sharing)
    assert (out["status"], out["unreachable"]) == ("revoked", True)
    assert carol2.count("DELETE", f"/sharings/{sharing}$") == 0, "who does not know it is not told"
    told = alice.get(f"/sharings/{sharing}/status", *ALL).json()["data"]["attributes"]["members"][1]
    assert (told["state"], told["summary"]) == (
        "revoked", "The server of carol2 did not know this sharing any more; carol2 does not take part now.",
    )  # fmt: skip
    assert "does not know the sharing any more" in mail_to(alice, "alice@example.com")
    again = add(alice, sharing, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)))
    assert again.status_code == 200
    assert "unreachable" not in member(alice, sharing)


def test_who_knows_the_sharing_after_all_stays(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    _, sharing = joined(town, carol2)
    until_steady(town, sharing)
    found_shut(town, sharing, hours=48)
    assert member(alice, sharing)["status"] == "ready"
