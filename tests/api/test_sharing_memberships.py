"""What is known of a member ends with his membership: who comes again gets everything anew (spec/05 §4.1, §19)."""

from __future__ import annotations

from tests.api.sharing_town import (
    ALL,
    TESTS,
    Body,
    Scripted,
    Town,
    carol2,
    contact,
    create,
    eventually,
    people,
    rule,
    share,
    town,
)

from inglenook.kernel import xor
from inglenook.replication.line import Line, Replaced
from inglenook.replication.link_state import load_state
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
