"""The real PouchDB replicates with the server: both ways, live, through conflicts and deletions (spec/01 §16.2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.api.shelf import Shelf
from tests.clients.node import ClientError, Node
from tests.servers import Person


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    return Shelf(alice)


def local_documents(pouch: Node, shelf: Shelf) -> dict[str, Any]:
    rows = pouch("return (await local(name).allDocs({ include_docs: true })).rows", name=shelf.doctype)
    return {row["id"]: row["doc"] for row in rows}


def test_a_pull_brings_every_document_and_a_second_one_nothing(shelf: Shelf, pouch: Node) -> None:
    shelf.bulk(*({"_id": f"doc/{n:03}", "n": n, "text": "é\u2028" * n} for n in range(230)))
    updated = shelf.read("doc/001")
    shelf.put("doc/001", **{**updated, "n": 1000})
    shelf.remove(shelf.read("doc/002"))
    pull = "return await local(name).replicate.from(remote(name), { batch_size: 50 })"
    first = pouch(pull, name=shelf.doctype)
    assert (first["ok"], first["docs_written"], first["doc_write_failures"]) == (True, 230, 0)
    assert pouch(pull, name=shelf.doctype)["docs_written"] == 0
    documents = local_documents(pouch, shelf)
    assert len(documents) == 229
    assert documents["doc/001"]["n"] == 1000
    for id, document in documents.items():
        known = shelf.read(id)
        del known["_type"]
        assert document == known


def test_a_push_brings_revisions_with_their_history(shelf: Shelf, pouch: Node) -> None:
    revs = pouch(
        """
        const db = local(name)
        let doc = { _id: 'x', n: 0 }
        const revs = []
        for (let n = 0; n < 5; n++) { doc._rev = (await db.put({ ...doc, n })).rev; revs.push(doc._rev) }
        await db.put({ _id: 'gone' }).then(made => db.remove('gone', made.rev))
        await db.replicate.to(remote(name))
        return revs
        """,
        name=shelf.doctype,
    )
    assert shelf.read("x")["_rev"] == revs[-1]
    history = shelf.get("/x", params={"revs": "true"})["_revisions"]
    assert [f"{5 - at}-{hash}" for at, hash in enumerate(history["ids"])] == revs[::-1]
    assert shelf.refusal("GET", "/gone") == (404, "not_found", "deleted")


def test_both_sides_agree_after_editing_the_same_document(shelf: Shelf, pouch: Node) -> None:
    made = shelf.put("x", v="first")
    sync = "await local(name).sync(remote(name))"
    pouch(sync, name=shelf.doctype)
    shelf.put("x", **{**made, "v": "server"})
    pouch("const doc = await local(name).get('x'); await local(name).put({ ...doc, v: 'client' })", name=shelf.doctype)
    pouch(sync, name=shelf.doctype)
    here = shelf.get("/x", params={"revs": "true", "conflicts": "true"})
    there = pouch("return await local(name).get('x', { revs: true, conflicts: true })", name=shelf.doctype)
    assert len(here["_conflicts"]) == 1
    assert here == there
    pouch("await local(name).remove('x', rev)", name=shelf.doctype, rev=here["_conflicts"][0])
    pouch(sync, name=shelf.doctype)
    assert "_conflicts" not in shelf.get("/x", params={"revs": "true", "conflicts": "true"})
    assert shelf.read("x")["v"] == here["v"]


def test_a_deletion_against_an_edit_leaves_the_edit_on_both_sides(shelf: Shelf, pouch: Node) -> None:
    made = shelf.put("x", v="first")
    sync = "await local(name).sync(remote(name))"
    pouch(sync, name=shelf.doctype)
    shelf.remove(made)
    pouch("const doc = await local(name).get('x'); await local(name).put({ ...doc, v: 'client' })", name=shelf.doctype)
    pouch(sync, name=shelf.doctype)
    assert shelf.read("x")["v"] == "client"
    assert local_documents(pouch, shelf)["x"]["v"] == "client"


def test_a_live_replication_needs_no_polling(shelf: Shelf, pouch: Node) -> None:
    shelf.put("before")
    pouch(
        """
        globalThis.states = []
        const sync = keep(local(name).sync(remote(name), { live: true }))
        sync.on('error', error => states.push(String(error)))
        globalThis.sync = sync
        await until(() => local(name).get('before').catch(() => null))
        """,
        name=shelf.doctype,
    )
    for n in range(3):
        shelf.put(f"server{n}", n=n)
        pouch("await until(() => local(name).get('server' + n).catch(() => null))", name=shelf.doctype, n=n)
        pouch(
            """
            await local(name).put({ _id: 'client' + n })
            await until(() => remote(name).get('client' + n).catch(() => null))
            """,
            name=shelf.doctype,
            n=n,
        )
    assert pouch("sync.cancel(); return states") == []


def test_attachments_travel_both_ways(shelf: Shelf, pouch: Node) -> None:
    shelf.put("server", _attachments={"a b.txt": {"content_type": "text/plain", "data": "b25l"}})
    there = pouch(
        """
        const db = local(name)
        const made = await db.put({ _id: 'client', _attachments: { 'x': { content_type: 'image/png', data: 'AP8=' } } })
        await db.sync(remote(name))
        const rev = (await db.get('client'))._rev
        await db.put({ _id: 'client', _rev: rev, n: 1, _attachments: (await db.get('client'))._attachments })
        await db.sync(remote(name))
        const { _attachments } = await db.get('server', { attachments: true })
        return _attachments['a b.txt']
        """,
        name=shelf.doctype,
    )
    assert (there["content_type"], there["data"]) == ("text/plain", "b25l")
    here = shelf.call("GET", "/client/x")
    assert (here.content, here.headers["content-type"]) == (b"\0\xff", "image/png")
    assert shelf.read("client")["n"] == 1
    stub = shelf.read("client")["_attachments"]["x"]
    assert (stub["length"], stub["revpos"], stub["stub"]) == (2, 1, True)


def test_a_selector_chooses_what_is_pulled(shelf: Shelf, pouch: Node) -> None:
    shelf.bulk(*({"_id": f"{n}", **({"cozyLocalOnly": True} if n % 2 else {})} for n in range(10)))
    shelf.index("n", ddoc="by_n")
    selector = {"cozyLocalOnly": {"$exists": False}}
    options = json.dumps({"selector": selector, "batch_size": 3})
    pouch(f"await local(name).replicate.from(remote(name), {options})", name=shelf.doctype)
    assert set(local_documents(pouch, shelf)) == {"0", "2", "4", "6", "8", "_design/by_n"}


def test_a_push_makes_the_database_that_is_missing(shelf: Shelf, pouch: Node) -> None:
    code = """
        await local(name).put({ _id: 'x' })
        return (await local(name).replicate.to(remote(name))).docs_written
    """
    assert pouch(code, name=shelf.doctype) == 1
    assert shelf.ids() == ["x"]


def test_a_closed_doctype_is_told_as_such(pouch: Node) -> None:
    with pytest.raises(ClientError) as refused:
        pouch("return await remote('io.cozy.contacts').info()")
    assert refused.value.status == 403
