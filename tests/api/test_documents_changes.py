"""The changes feed, filtered and waiting (spec/01 §7.1, spec/11 §8)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.api.shelf import Shelf
from tests.servers import Person, RunningServer


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    return Shelf(alice)


def ids(feed: dict[str, Any]) -> list[str]:
    return [row["id"] for row in feed["results"]]


def number(seq: str) -> int:
    return int(seq.partition("-")[0])


def test_each_document_is_told_once_at_its_latest_sequence(shelf: Shelf) -> None:
    a = shelf.put("a")
    shelf.put("b")
    shelf.put("a", **a, n=2)
    shelf.remove(shelf.put("c"))
    feed = shelf.changes()
    assert ids(feed) == ["b", "a", "c"]
    assert feed["results"][2]["deleted"] is True
    assert "deleted" not in feed["results"][0]
    assert all(row["doc"] is None and len(row["changes"]) == 1 for row in feed["results"])
    sequences = [number(row["seq"]) for row in feed["results"]]
    assert sequences == sorted(sequences)
    assert feed["last_seq"] == feed["results"][-1]["seq"]
    assert feed["pending"] == 0


def test_a_feed_goes_on_where_it_ended(shelf: Shelf) -> None:
    shelf.bulk(*({"_id": f"{n}"} for n in range(5)))
    first = shelf.changes(limit="2")
    assert (ids(first), first["pending"]) == (["0", "1"], 3)
    second = shelf.changes(limit="2", since=first["last_seq"])
    assert (ids(second), second["pending"]) == (["2", "3"], 1)
    rest = shelf.changes(since=second["last_seq"])
    assert (ids(rest), rest["pending"]) == (["4"], 0)
    assert shelf.changes(since=rest["last_seq"])["results"] == []
    assert shelf.changes(since="now")["last_seq"] == rest["last_seq"]
    for beginning in ("", "0"):
        assert len(ids(shelf.changes(since=beginning))) == 5


def test_writes_to_other_doctypes_leave_gaps_but_no_changes(shelf: Shelf) -> None:
    shelf.put("a")
    seen = shelf.changes()["last_seq"]
    Shelf(shelf.person).put("elsewhere")
    assert shelf.changes(since=seen) == {"results": [], "last_seq": seen, "pending": 0}


def test_descending_starts_at_the_newest_and_ignores_since(shelf: Shelf) -> None:
    shelf.bulk(*({"_id": f"{n}"} for n in range(5)))
    newest = shelf.changes(descending="true", limit="1", since=shelf.changes()["last_seq"])
    assert (ids(newest), newest["pending"]) == (["4"], 4)
    assert newest["last_seq"] == shelf.changes()["last_seq"]
    assert ids(shelf.changes(descending="true")) == ["4", "3", "2", "1", "0"]


def test_a_long_feed_is_complete_in_both_directions(shelf: Shelf) -> None:
    names = [f"{n:04}" for n in range(950)]
    shelf.bulk(*({"_id": name, "text": "x" * 600} for name in names))
    feed = shelf.changes(include_docs="true", style="all_docs")
    assert [row["doc"]["_id"] for row in feed["results"]] == names
    assert ids(shelf.changes(descending="true", limit="900")) == names[:49:-1]


def test_documents_and_all_leaves_are_told_when_asked(shelf: Shelf) -> None:
    shelf.replicate(
        {"_id": "x", "_rev": "1-a"}, {"_id": "x", "_rev": "1-b", "v": 2}, {"_id": "x", "_rev": "1-c", "_deleted": True}
    )
    row = shelf.changes(include_docs="true", style="all_docs")["results"][0]
    assert [change["rev"] for change in row["changes"]] == ["1-b", "1-a", "1-c"]
    assert row["doc"] == {"_id": "x", "_rev": "1-b", "v": 2}
    assert [change["rev"] for change in shelf.changes(style="main_only")["results"][0]["changes"]] == ["1-b"]


def test_a_tombstone_is_told_with_its_fields(shelf: Shelf) -> None:
    made = shelf.put("x", n=1)
    (answer,) = shelf.bulk({"_id": "x", "_rev": made["_rev"], "_deleted": True, "n": 1})
    row = shelf.changes(include_docs="true")["results"][0]
    assert row["doc"] == {"_id": "x", "_rev": answer["rev"], "_deleted": True, "n": 1}


def test_sequences_can_be_left_out_between(shelf: Shelf) -> None:
    shelf.bulk(*({"_id": f"{n}"} for n in range(5)))
    assert [bool(row["seq"]) for row in shelf.changes(seq_interval="2")["results"]] == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"feed": "continuous"}, "Unsuported feed value 'continuous'"),
        ({"style": "zz"}, "Unsuported style value 'zz'"),
        ({"limit": "zz"}, "Invalid limit value 'zz'"),
        ({"seq_interval": "zz"}, "Invalid seq_interval value 'zz'"),
        ({"filter": "_doc_ids"}, "Unsupported query parameter 'filter'"),
        ({"conflicts": "true"}, "Unsupported query parameter 'conflicts'"),
        ({"bearer_token": "x"}, "Unsupported query parameter 'bearer_token'"),
    ],
)
def test_a_bad_parameter_is_named(shelf: Shelf, query: dict[str, str], error: str) -> None:
    assert shelf.refusal("GET", "/_changes", params=query)[:2] == (400, f"Bad Request(400): {error}")


@pytest.mark.parametrize("since", ["3", "zz", "3-", "-1", "1-g1AAAA", "now2", "99999999999999999999-x"])
def test_a_sequence_that_nobody_gave_is_refused(shelf: Shelf, since: str) -> None:
    shelf.put("x")
    assert shelf.refusal("GET", "/_changes", params={"since": since}) == (
        400, "bad_request", "Malformed sequence supplied in 'since' parameter.",
    )  # fmt: skip


def test_what_does_nothing_is_accepted(shelf: Shelf) -> None:
    shelf.put("x")
    assert ids(shelf.changes(timeout="5", heartbeat="5", _nonce="abc", feed="normal")) == ["x"]
    assert shelf.refusal("GET", "/_changes", params={"x": "y"})[0] == 400


def test_an_unknown_doctype_is_404(shelf: Shelf) -> None:
    for feed in ("normal", "longpoll"):
        assert shelf.refusal("GET", "/_changes", params={"feed": feed}) == (
            404,
            "not_found",
            "Database does not exist.",
        )


# -- filters


def filtered(shelf: Shelf, name: str, body: Any, **query: str) -> dict[str, Any]:
    return shelf.post("/_changes", body, params={"filter": name, **query})


def test_filters_choose_ids_designs_and_matching_documents(shelf: Shelf) -> None:
    shelf.bulk(*({"_id": f"{n}", "n": n, "o": {"p": n, "q": 1}} for n in range(6)))
    shelf.index("n", ddoc="by_n")
    assert ids(filtered(shelf, "_doc_ids", {"doc_ids": ["4", "1", "ghost"]})) == ["1", "4"]
    assert ids(filtered(shelf, "_design", {})) == ["_design/by_n"]
    assert ids(filtered(shelf, "_selector", {"selector": {"n": {"$gt": 3}}})) == ["4", "5"]
    part = filtered(shelf, "_selector", {"selector": {"n": {"$gt": 1}}}, limit="2")
    assert (ids(part), part["pending"]) == (["2", "3"], 3)
    assert ids(filtered(shelf, "_selector", {"selector": {"n": {"$gt": 1}}}, since=part["last_seq"])) == ["4", "5"]
    told = filtered(shelf, "_selector", {"selector": {"n": 2}, "fields": ["_id", "o.p"]}, include_docs="true")
    assert told["results"][0]["doc"] == {"_id": "2", "o": {"p": 2}}
    assert told["last_seq"] == shelf.changes()["last_seq"]
    assert len(ids(shelf.post("/_changes", {"doc_ids": []}))) == 7, "without a filter the body says nothing"


def test_a_selector_sees_tombstones(shelf: Shelf) -> None:
    shelf.remove(shelf.put("x", n=1))
    assert ids(filtered(shelf, "_selector", {"selector": {"_deleted": True}})) == ["x"]
    assert ids(filtered(shelf, "_selector", {"selector": {"cozyLocalOnly": {"$exists": False}}})) == ["x"]


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("_doc_ids", {"doc_ids": 5}, "`doc_ids` filter parameter is not a list of doc ids."),
        ("_doc_ids", {}, "`doc_ids` filter parameter is not a list of doc ids."),
        ("_selector", {}, "Selector error: expected a JSON object"),
        ("_selector", {"selector": {"a": {"$zz": 1}}}, "Invalid operator: $zz"),
    ],
)
def test_a_bad_filter_is_refused(shelf: Shelf, name: str, body: Any, reason: str) -> None:
    shelf.put("x")
    assert shelf.refusal("POST", "/_changes", body, params={"filter": name}) == (400, "bad_request", reason)


@pytest.mark.parametrize("content", [b"", b"{"])
def test_a_filter_without_a_body_is_refused(shelf: Shelf, content: bytes) -> None:
    shelf.put("x")
    assert shelf.refusal("POST", "/_changes", content=content, params={"filter": "_doc_ids"})[0] == 400
    assert "Unsuported filter value 'zz'" in shelf.refusal("POST", "/_changes", {}, params={"filter": "zz"})[1]


# -- waiting


class Waiting:
    """A long poll in a thread of its own."""

    def __init__(self, shelf: Shelf, **query: str) -> None:
        self._answer: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=lambda: self._answer.append(shelf.changes(feed="longpoll", **query)))
        self._thread.start()

    def answer(self) -> dict[str, Any]:
        self._thread.join(20)
        assert not self._thread.is_alive(), "the long poll never ended"
        return self._answer[0]

    def is_waiting(self) -> bool:
        return self._thread.is_alive()


def test_a_long_poll_answers_at_once_when_there_is_something(shelf: Shelf) -> None:
    shelf.put("x")
    assert ids(shelf.changes(feed="longpoll")) == ["x"]


def test_a_long_poll_answers_when_something_changes(shelf: Shelf) -> None:
    shelf.put("x")
    since = shelf.changes()["last_seq"]
    waiting = Waiting(shelf, since=since, timeout="15000", include_docs="true")
    Shelf(shelf.person).put("elsewhere")
    assert waiting.is_waiting()
    shelf.put("y", n=1)
    told = waiting.answer()
    assert [row["doc"]["n"] for row in told["results"]] == [1]
    assert told["last_seq"] == shelf.changes()["last_seq"]


def test_a_long_poll_beats_while_it_waits(shelf: Shelf) -> None:
    shelf.put("x")
    since = shelf.changes()["last_seq"]
    url = f"/data/{shelf.doctype}/_changes"
    query = {"feed": "longpoll", "since": since, "heartbeat": "1000"}
    token = shelf.person.token(shelf.scope)
    headers = {"Authorization": f"Bearer {token}"}
    received = b""
    with shelf.person.http.stream("GET", url, params=query, headers=headers) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_raw():
            if not received:
                assert chunk == b"\n"
                shelf.put("y")
            received += chunk
    assert b'"id":"y"' in received
    assert received.endswith(b'"pending":0}\n')


def test_a_long_poll_ends_with_its_patience(shelf: Shelf) -> None:
    shelf.put("x")
    since = shelf.changes()["last_seq"]
    assert shelf.changes(feed="longpoll", since=since, timeout="50") == {"results": [], "last_seq": since, "pending": 0}


def test_a_filtered_long_poll_waits_for_what_matches(shelf: Shelf) -> None:
    shelf.put("x")
    since = shelf.changes()["last_seq"]
    answers: list[dict[str, Any]] = []

    def wait() -> None:
        body = {"selector": {"wanted": True}}
        answers.append(filtered(shelf, "_selector", body, feed="longpoll", since=since, timeout="15000"))

    thread = threading.Thread(target=wait)
    thread.start()
    shelf.put("y", wanted=False)
    shelf.put("z", wanted=True)
    thread.join(20)
    assert [row["id"] for row in answers[0]["results"]] == ["z"]


def test_a_server_that_stops_answers_long_polls_first(tmp_path: Path) -> None:
    server = RunningServer(tmp_path).start()
    shelf = Shelf(server.add("alice"))
    shelf.put("x")
    query = {"feed": "longpoll", "since": shelf.changes()["last_seq"], "heartbeat": "1000"}
    headers = {"Authorization": f"Bearer {shelf.person.token(shelf.scope)}"}
    stopping = threading.Thread(target=server.stop)
    received = b""
    with shelf.person.http.stream("GET", f"/data/{shelf.doctype}/_changes", params=query, headers=headers) as answer:
        for chunk in answer.iter_raw():
            if not received:
                stopping.start()
            received += chunk
    stopping.join(5)
    assert not stopping.is_alive(), "it does not wait for the patience of its clients"
    assert received.strip().startswith(b'{"results":[],"last_seq":')
