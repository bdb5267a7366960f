"""Several documents in one transaction (spec/11 §6)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.api.shelf import SCOPE, Shelf
from tests.servers import Person

from inglenook.documents.accounts import ACCOUNTS

PATH = "/data/_transaction"


@pytest.fixture
def one(alice: Person) -> Shelf:
    return Shelf(alice)


@pytest.fixture
def other(alice: Person) -> Shelf:
    return Shelf(alice)


def send(shelf: Shelf, *documents: dict[str, Any], scopes: tuple[str, ...] = (SCOPE,), **rest: Any) -> httpx.Response:
    return shelf.person.post(PATH, *(() if "token" in rest else scopes), json_body={"docs": list(documents)}, **rest)


def test_documents_of_several_doctypes_are_written_together(one: Shelf, other: Shelf) -> None:
    kept, gone = one.put("kept", n=1), one.put("gone", n=1)
    answer = send(
        one,
        {**kept, "n": 2},
        {**gone, "_deleted": True},
        {"_type": other.doctype, "_id": "fresh", "n": 3},
        {"_type": other.doctype, "n": 4},
    )
    assert answer.status_code == 201
    results = answer.json()
    assert [result["ok"] for result in results] == [True] * 4
    assert [result["type"] for result in results] == [one.doctype, one.doctype, other.doctype, other.doctype]
    assert one.read("kept") == {**kept, "_rev": results[0]["rev"], "n": 2}
    assert one.refusal("GET", "/gone") == (404, "not_found", "deleted")
    assert other.read("fresh")["n"] == 3
    assert other.read(results[3]["id"])["n"] == 4


def test_its_journal_entries_are_contiguous(one: Shelf, other: Shelf) -> None:
    before = one.person.server.do(lambda _: one.person.instance.store.read(lambda view: view.last_seq()))
    send(one, *({"_type": shelf.doctype, "_id": f"{n}"} for n in range(5) for shelf in (one, other)))
    entries = one.person.server.do(
        lambda _: one.person.instance.store.read(lambda view: view.journal(since=before, limit=100))
    )
    mine = [entry.seq for entry in entries if entry.doctype in (one.doctype, other.doctype)]
    assert mine == list(range(mine[0], mine[0] + 10))


@pytest.mark.parametrize(
    ("bad", "status", "error"),
    [
        ({"_id": "there"}, 409, "conflict"),
        ({"_id": "there", "_rev": "1-" + "a" * 32}, 409, "conflict"),
        ({"_id": "never", "_rev": "1-" + "a" * 32}, 404, "not_found"),
        ({"_id": "never", "_deleted": True}, 409, "conflict"),
    ],
)
def test_nothing_is_written_when_one_fails(
    one: Shelf, other: Shelf, bad: dict[str, Any], status: int, error: str
) -> None:
    there = one.put("there", n=1)
    answer = send(one, {"_type": other.doctype, "_id": "new"}, {"_type": one.doctype, **bad}, {**there, "n": 2})
    assert answer.status_code == status
    body = answer.json()
    assert (body["ok"], body["status"], body["error"]) == (False, str(status), error)
    assert [result["error"] for result in body["results"]] == ["not_done", error, "not_done"]
    assert [result["id"] for result in body["results"]] == ["new", bad["_id"], "there"]
    assert one.read("there") == there
    assert other.refusal("GET", "/new") == (404, "not_found", "wrong_doctype")


@pytest.mark.parametrize(
    ("documents", "status"),
    [
        ([{"_id": "x"}], 400),
        ([{"_type": 5}], 400),
        ([{"_type": "io.cozy.tests.x", "_id": "_design/x"}], 400),
        ([{"_type": "io.cozy.tests.x", "_secret": 1}], 400),
        ([{"_type": "io.cozy.tests.x", "_rev": "1-a"}], 400),
        ([{"_type": "io.cozy.tests.x", "_id": "a", "_rev": "x"}], 400),
        ([{"_type": "io.cozy.files", "name": "x"}], 403),
        ([{"_type": "io.cozy.sharings"}], 403),
        ([{"_type": "Bad", "_id": "x"}], 403),
        (["text"], 400),
        ([{"_type": "io.cozy.tests.x"}] * 1001, 413),
    ],
)
def test_a_transaction_that_makes_no_sense_is_refused(one: Shelf, documents: list[Any], status: int) -> None:
    assert send(one, *documents).status_code == status


@pytest.mark.parametrize("raw", ["", "{", "5", '{"docs": 5}', "{}", "null"])
def test_a_body_that_is_no_list_of_documents_is_refused(alice: Person, raw: str) -> None:
    answer = alice.post(PATH, SCOPE, content=raw)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


def test_an_empty_transaction_and_a_bare_list_are_fine(one: Shelf) -> None:
    assert send(one).json() == []
    made = one.person.post(PATH, SCOPE, content=f'[{{"_type": "{one.doctype}", "_id": "x"}}]')
    assert [result["id"] for result in made.json()] == ["x"]


def test_each_document_needs_its_permission(one: Shelf, other: Shelf) -> None:
    there = one.put("there", n=1)
    only_one = one.person.token(f"{one.doctype}:POST,PUT:there,new")
    assert send(one, {**there, "n": 2}, {"_type": one.doctype, "_id": "new"}, token=only_one).status_code == 201
    now = one.read("there")
    for document in ({**now, "_deleted": True}, {"_type": one.doctype, "_id": "z"}, {"_type": other.doctype}):
        answer = send(one, {**now, "n": 3}, document, token=only_one)
        assert answer.status_code == 403
        assert answer.json()["results"][1]["error"] == "forbidden"
    assert one.read("there") == now


def test_who_opened_a_link_cannot_use_it(one: Shelf) -> None:
    rule = {"data": {"type": "io.cozy.permissions", "attributes": {"permissions": {"t": {"type": one.doctype}}}}}
    made = one.person.post("/permissions", SCOPE, params={"codes": "code"}, json_body=rule)
    code = made.json()["data"]["attributes"]["codes"]["code"]
    assert send(one, {"_type": one.doctype}, token=code).status_code == 403
    assert one.person.post(PATH, json_body={"docs": []}).status_code == 401


def test_accounts_in_it_are_encrypted(alice: Person) -> None:
    accounts = Shelf(alice, ACCOUNTS, ACCOUNTS)
    send(accounts, {"_type": ACCOUNTS, "_id": "bank", "auth": {"login": "me", "password": "hush"}}, scopes=(ACCOUNTS,))
    document = accounts.read("bank")
    assert document["_rev"].startswith("1-")
    assert set(document["auth"]) == {"login", "credentials_encrypted"}
    assert document["name"] == "me"
