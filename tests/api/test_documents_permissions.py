"""Who may do what below `/data` (spec/01 §1.3, §1.4), the holes of the reference closed (§19)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.shelf import Shelf
from tests.servers import Person

FORBIDDEN = (403, "code=403, message=Forbidden", "")


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    """A doctype with two documents."""
    shelf = Shelf(alice)
    shelf.bulk({"_id": "mine", "owner": "alice", "flag": True}, {"_id": "other", "owner": "bob"})
    return shelf


def limited(shelf: Shelf, rule: str) -> Any:
    """A way to call with one rule: `VERBS:values:selector`."""
    token = shelf.person.token(f"{shelf.doctype}:{rule}")

    def refusal(method: str, tail: str, json_body: Any = None, **rest: Any) -> Any:
        answer = shelf.call(method, tail, json_body, token=token, **rest)
        body = answer.json()
        if answer.status_code < 400 or isinstance(body, str):
            return body
        return answer.status_code, body["error"], body.get("reason", "")

    return refusal


def test_no_token_and_bad_tokens(shelf: Shelf) -> None:
    assert shelf.refusal("GET", "/mine", token="") == (401, "code=401, message=No token in request", "")
    answer = shelf.call("GET", "/mine", token="garbage")
    assert (answer.status_code, answer.json()["error"]) == (400, "code=400, message=Invalid JWT token")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_a_token_may_come_as_the_password_or_in_the_query(shelf: Shelf) -> None:
    token = shelf.person.token(shelf.scope)
    assert shelf.call("GET", "/mine", token="", auth=("user", token)).status_code == 200
    assert shelf.call("GET", "/mine", token="", params={"bearer_token": token}).status_code == 200


OPERATIONS = [
    ("GET", "/", None, "GET"),
    ("PUT", "/", None, "POST"),
    ("DELETE", "/", None, "DELETE"),
    ("GET", "/_all_docs", None, "GET"),
    ("POST", "/_all_docs", {}, "GET"),
    ("GET", "/_all_docs?Fields=n", None, "GET"),
    ("GET", "/_normal_docs", None, "GET"),
    ("POST", "/_bulk_docs", {"docs": []}, "POST"),
    ("POST", "/_bulk_get", {"docs": []}, "GET"),
    ("POST", "/_revs_diff", {}, "GET"),
    ("GET", "/_changes", None, "GET"),
    ("GET", "/_changes?feed=longpoll", None, "GET"),
    ("POST", "/_changes?filter=_design", {}, "GET"),
    ("GET", "/_local/x", None, "GET"),
    ("PUT", "/_local/x", {}, "GET"),
    ("POST", "/_ensure_full_commit", {}, "GET"),
    ("POST", "/_index", {"index": {"fields": ["a"]}}, "GET"),
    ("POST", "/_find", {"selector": {"a": 1}}, "GET"),
    ("GET", "/_design_docs", None, "GET"),
    ("GET", "/_design/x", None, "GET"),
    ("DELETE", "/_design/x?rev=1-a", None, "GET"),
    ("POST", "/_design/x/copy", None, "GET"),
]


@pytest.mark.parametrize(("method", "tail", "body", "verb"), OPERATIONS)
def test_every_operation_on_a_doctype_needs_its_verb_on_the_whole_of_it(
    shelf: Shelf, method: str, tail: str, body: Any, verb: str
) -> None:
    others = ",".join(each for each in ("GET", "POST", "PUT", "PATCH", "DELETE") if each != verb)
    for rule in (others, f"{verb}:mine", f"{verb}:alice:owner"):
        assert limited(shelf, rule)(method, tail, body) == FORBIDDEN, rule
    assert shelf.refusal(method, tail, body, token="")[0] == 401
    assert limited(shelf, verb)(method, tail, body) != FORBIDDEN
    assert (
        shelf.person.call(
            method, f"/data/io.cozy.tests.elsewhere{tail}", "io.cozy.contacts", json_body=body
        ).status_code
        == 403
    )


def test_a_rule_of_ids_opens_these_documents_and_hides_which_others_exist(shelf: Shelf) -> None:
    call = limited(shelf, "GET,POST,PUT,DELETE:mine,new")
    assert call("GET", "/mine")["owner"] == "alice"
    assert call("GET", "/new") == (404, "not_found", "missing")
    for hidden in ("other", "ghost"):
        assert call("GET", f"/{hidden}") == FORBIDDEN
        assert call("GET", f"/{hidden}?revs=true") == FORBIDDEN
        assert call("GET", f'/{hidden}?revs=true&open_revs=["1-a"]') == FORBIDDEN
        assert call("DELETE", f"/{hidden}?rev=1-a") == FORBIDDEN
        assert call("PUT", f"/{hidden}", {"n": 1}) == FORBIDDEN
    assert call("GET", "/mine?revs=true")["_revisions"]["start"] == 1
    assert call("PUT", "/new", {"n": 1})["ok"]
    assert call("POST", "/", {"n": 1}) == FORBIDDEN


def test_a_rule_of_a_field_looks_at_the_document(shelf: Shelf) -> None:
    call = limited(shelf, "ALL:alice:owner")
    assert call("GET", "/mine")["owner"] == "alice"
    assert call("GET", "/other") == FORBIDDEN
    assert call("POST", "/", {"owner": "alice"})["ok"]
    assert call("POST", "/", {"owner": "bob"}) == FORBIDDEN
    assert call("POST", "/", {}) == FORBIDDEN
    assert limited(shelf, "GET:true:flag")("GET", "/mine")["flag"] is True


def test_an_update_must_be_allowed_before_and_after(shelf: Shelf) -> None:
    call = limited(shelf, "PUT:alice:owner")
    mine, other = shelf.read("mine"), shelf.read("other")
    assert call("PUT", "/mine", {**mine, "owner": "bob"}) == FORBIDDEN
    assert call("PUT", "/other", {**other, "owner": "alice"}) == FORBIDDEN
    assert shelf.read("mine") == mine
    assert call("PUT", "/mine", {**mine, "n": 1})["rev"].startswith("2-")


def test_revisions_that_a_rule_does_not_cover_stay_hidden(shelf: Shelf) -> None:
    mine = shelf.read("mine")["_rev"]
    shelf.replicate({"_id": "mine", "_rev": "1-0", "owner": "bob"})
    assert shelf.read("mine")["_rev"] == mine
    call = limited(shelf, "GET:alice:owner")
    assert call("GET", f"/mine?revs=true&rev={mine}")["owner"] == "alice"
    assert call("GET", "/mine?revs=true&rev=1-0") == FORBIDDEN
    assert call("GET", "/mine?revs=true&open_revs=all") == FORBIDDEN


def test_the_vault_settings_are_open_to_who_reads_organizations(alice: Person) -> None:
    path = "/data/io.cozy.settings/io.cozy.settings.bitwarden"
    status = alice.get(path, "io.cozy.settings").status_code
    assert alice.get(path, "com.bitwarden.organizations:GET").status_code in (status, 403 if status == 404 else status)
    assert (
        alice.get("/data/io.cozy.settings/io.cozy.settings.instance", "com.bitwarden.organizations").status_code == 403
    )


# -- doctypes that are closed


@pytest.mark.parametrize("doctype", ["io.cozy.sharings", "io.cozy.permissions", "io.cozy.oauth.clients", "instances"])
def test_some_doctypes_are_never_read(alice: Person, doctype: str) -> None:
    scope = doctype if doctype != "instances" else "io.cozy.tests"
    closed = Shelf(alice, doctype, scope)
    expected = (403, f"code=403, message=reserved doctype {doctype} unreadable", "")
    for method, tail, body in [
        ("GET", "/x", None), ("GET", "/_all_docs", None), ("GET", "/_normal_docs", None),
        ("GET", "/_design_docs", None),
        ("POST", "/_find", {"selector": {"a": 1}}), ("GET", "/_changes", None),
        ("POST", "/_index", {"index": {"fields": ["a"]}}),
        ("GET", "/x?revs=true", None),
    ]:  # fmt: skip
        assert closed.refusal(method, tail, body) == expected, tail
    if doctype != "instances":
        for method, tail, body in [
            ("GET", "/", None),
            ("POST", "/_bulk_get", {"docs": []}),
            ("POST", "/_revs_diff", {}),
        ]:
            assert closed.refusal(method, tail, body) == expected, tail


@pytest.mark.parametrize("doctype", ["io.cozy.files", "io.cozy.jobs", "io.cozy.sharings", "io.cozy.apps"])
def test_some_doctypes_are_never_written(alice: Person, doctype: str) -> None:
    closed = Shelf(alice, doctype, doctype)
    expected = (403, f"code=403, message=reserved doctype {doctype} unwritable", "")
    for method, tail, body in [
        ("POST", "/", {"a": 1}), ("PUT", "/x", {"a": 1}), ("DELETE", "/x?rev=1-a", None), ("PUT", "/", None),
        ("DELETE", "/", None), ("POST", "/_bulk_docs", {"docs": [{"a": 1}]}), ("POST", "/_ensure_full_commit", {}),
    ]:  # fmt: skip
        assert closed.refusal(method, tail, body) == expected, tail


@pytest.mark.parametrize("doctype", ["Bad-Type", "io..cozy", ".io", "io.", "io.cozy.été", "a:b"])
def test_a_doctype_has_a_proper_name(alice: Person, doctype: str) -> None:
    shelf = Shelf(alice, doctype)
    expected = (403, f"code=403, message={doctype} is not a valid doctype name", "")
    assert shelf.refusal("POST", "/", {"a": 1}) == expected
    assert shelf.refusal("GET", "/x") == expected


# -- files, read as documents


def test_files_are_read_raw_with_the_path_of_directories(alice: Person) -> None:
    files = Shelf(alice, "io.cozy.files", "io.cozy.files")

    def make(query: str, where: str = "") -> str:
        answer = alice.post(f"/files/{where}?{query}", "io.cozy.files", content=b"")
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]["id"]

    parent = make("Type=directory&Name=parent")
    child = make("Type=directory&Name=child", parent)
    file = make("Type=file&Name=note.txt", child)
    assert files.read(child)["path"] == "/parent/child"
    assert "path" not in files.read(file)
    rows = files.get("/_all_docs", params={"keys": f'["{child}"]', "include_docs": "true"})["rows"]
    assert rows[0]["doc"]["path"] == "/parent/child"
    told = files.changes(include_docs="true")["results"]
    assert [row["doc"]["path"] for row in told if row["id"] == child] == ["/parent/child"]
    got = files.post("/_bulk_get", {"docs": [{"id": child}]})["results"][0]["docs"][0]["ok"]
    assert got["path"] == "/parent/child"
    assert [d["_id"] for d in files.find({"path": "/parent/child"}, use_index="dir-by-path")["docs"]] == [child]
    below = files.find({"path": {"$gt": "/parent/", "$lt": "/parent/\uffff"}}, fields=["path"])
    assert below["docs"] == [{"path": "/parent/child"}]
    change = {"data": {"type": "io.cozy.files", "id": parent, "attributes": {"name": "renamed"}}}
    assert alice.patch(f"/files/{parent}", "io.cozy.files", json_body=change).status_code == 200
    assert files.read(child)["path"] == "/renamed/child"
    assert [d["_id"] for d in files.find({"path": "/renamed/child"})["docs"]] == [child]
    in_order = files.find({"path": {"$gt": None}}, sort=[{"path": "desc"}], fields=["path"], limit=2)
    assert in_order["docs"][0] == {"path": "/renamed/child"}
    more = files.find({"path": {"$gt": None}}, sort=[{"path": "desc"}], fields=["path"], bookmark=in_order["bookmark"])
    assert more["docs"][-1] == {"path": "/"}
    assert len(more["docs"]) + 2 == len(files.find({"path": {"$gt": None}})["docs"])


# -- the two forms of the store's errors


def test_errors_of_the_store_have_the_form_of_their_route(alice: Person) -> None:
    shelf = Shelf(alice)
    shelf.put("x")
    missing = {"error": "not_found", "reason": "missing"}
    assert shelf.call("GET", "/_local/x").json() == missing
    assert shelf.call("GET", "/_design/x").json() == missing
    assert shelf.call("GET", "/y").json() == {"ok": False, "status": "404", **missing}
    assert set(shelf.call("PUT", "/").json()) == {"error", "reason"}
