"""What nobody may do to a sharing, and what nobody can break: wrong callers, wrong bodies (spec/04 §1.2, §30.28)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.api.sharing_town import ALL, Scripted, Town, attributes, carol2, contact, folder, people, rule, share, town
from tests.servers import Person

__all__ = ["carol2", "town"]


def member_of(person: Person, carol2: Scripted) -> tuple[str, str]:
    """A sharing of a person that carol2 has accepted, and her token."""
    sharing = share(person, people(contact(person, "carol2", email=carol2.email, url=carol2.url)))
    return sharing, carol2.join(person, sharing)


FOR_PEERS_OF_THE_OWNER = [
    ("POST", "_revs_diff"),
    ("POST", "_bulk_docs"),
    ("POST", "recipients/delegated"),
    ("POST", "members/1/invitation"),
    ("DELETE", "groups/0/1"),
    ("POST", "recipients/self/moved"),
    ("POST", "public-key"),
    ("DELETE", "answer"),
]
FOR_THE_OWNER_OF_A_RECIPIENT = [
    ("PUT", "recipients"),
    ("PUT", "metadata"),
    ("POST", "recipients/self/readonly"),
    ("DELETE", "recipients/self/readonly"),
    ("DELETE", "initial"),
    ("DELETE", ""),
]


@pytest.mark.parametrize(("method", "route"), [*FOR_PEERS_OF_THE_OWNER, *FOR_THE_OWNER_OF_A_RECIPIENT])
def test_only_a_server_of_this_very_sharing_opens_the_routes_between_servers(
    town: Town, carol2: Scripted, method: str, route: str
) -> None:
    if (method, route) in FOR_PEERS_OF_THE_OWNER:
        person = town.alice
        sharing, _ = member_of(person, carol2)
        _, wrong = member_of(person, carol2)
    else:
        person, sharing = town.bob, f"guarded-{method}-{route}".replace("/", "-")
        carol2.shares(person, sharing)
        wrong = carol2.shares(person, f"other-{sharing}")
    before = attributes(person, sharing)
    path = f"/sharings/{sharing}/{route}".rstrip("/")
    app = person.token(*ALL, "io.cozy.sharings")
    for token, allowed in (("", (401, 403)), ("garbage", (400, 403)), (wrong, (403, 404)), (app, (403,))):
        answer = person.call(method, path, token=token, json_body={"data": {"attributes": {}}})
        assert answer.status_code in allowed, (token[:8], answer.status_code, answer.text)
    assert attributes(person, sharing) == before


def test_a_member_does_not_act_as_a_client_of_the_owner(town: Town, carol2: Scripted) -> None:
    sharing, token = member_of(town.alice, carol2)
    body = {"data": {"attributes": {"description": "mine"}}}
    for method, path, status in (
        ("PATCH", f"/sharings/{sharing}", 403),
        ("POST", f"/sharings/{sharing}/recipients", 403),
        ("DELETE", f"/sharings/{sharing}/recipients", 403),
        ("DELETE", f"/sharings/{sharing}/recipients/1", 403),
        ("DELETE", f"/sharings/{sharing}/recipients/self", 403),
        ("DELETE", f"/sharings/{sharing}/groups/0", 403),
        ("GET", "/sharings/doctype/io.cozy.sharings", 403),
        ("POST", "/sharings/", 403),
        ("GET", f"/sharings/{sharing}", 403),
    ):
        answer = town.alice.call(method, path, token=token, json_body=body)
        assert answer.status_code == status, (method, path, answer.text)
    assert town.alice.get("/sharings/news", token=token).status_code == 200


# -- bodies

WRONG: list[object] = [
    None,
    [],
    "text",
    {},
    {"data": None},
    {"data": []},
    {"data": {"attributes": None, "relationships": None}},
    {"data": {"attributes": []}},
    {"data": {"id": 5, "attributes": {}}},
    {"data": {"attributes": {"rules": "x", "members": {}, "client": [], "access_token": 1, "state": 3, "xor_key": 7}}},
    {"data": {"attributes": {"rules": [{"title": 1}], "members": ["x"], "description": 5, "groups": [1]}}},
    {"data": {"attributes": {"rules": [None], "members": [None], "xor_key": "?", "new_instance": 5}}},
    {"data": {"attributes": {}, "relationships": {"recipients": [], "groups": "x"}}},
    {"data": {"attributes": {}, "relationships": {"recipients": {"data": {}}, "groups": {"data": [{"addedBy": "x"}]}}}},
    {"data": {"attributes": {}, "relationships": {"recipients": {"data": [5]}}}},
    {"data": [{"status": 4}], "included": [{}]},
    {"data": [{"status": "king"}]},
    {"description": 7},
    {"state": 7},
    {"state": ""},
]


def bodies() -> Iterator[bytes]:
    yield from (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"data":' * 50_000)
    yield from (json.dumps(body).encode() for body in WRONG)


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("POST", "/sharings/"),
        ("PUT", "/sharings/{new}"),
        ("PATCH", "/sharings/{mine}"),
        ("POST", "/sharings/{mine}/recipients"),
        ("POST", "/sharings/{mine}/answer"),
        ("POST", "/sharings/{mine}/preview-url"),
        ("POST", "/sharings/{mine}/discovery"),
        ("POST", "/auth/authorize/sharing"),
    ],
)
def test_no_body_of_a_client_or_stranger_breaks_the_server(
    town: Town, carol2: Scripted, method: str, route: str
) -> None:
    sharing, _ = member_of(town.alice, carol2)
    path = route.format(mine=sharing, new="new")
    for body in bodies():
        headers = {"Content-Type": "application/vnd.api+json"}
        answer = town.alice.call(method, path, *ALL, content=body, headers=headers)
        assert answer.status_code < 500, (body[:200], answer.status_code, answer.text)
        if body.startswith(b"[[") or body in (b"{", b"\xff\xfe"):
            assert answer.status_code >= 400


@pytest.mark.parametrize(
    "route", ["recipients/delegated", "members/1/invitation", "recipients/self/moved", "public-key"]
)
def test_no_body_of_a_member_breaks_the_owner(town: Town, carol2: Scripted, route: str) -> None:
    sharing, token = member_of(town.alice, carol2)
    before = attributes(town.alice, sharing)["members"]
    for body in bodies():
        answer = town.alice.post(f"/sharings/{sharing}/{route}", token=token, content=body)
        assert answer.status_code < 500, (body[:200], answer.status_code, answer.text)
    assert attributes(town.alice, sharing)["members"] == before


@pytest.mark.parametrize(("method", "route"), FOR_THE_OWNER_OF_A_RECIPIENT[:4])
def test_no_body_of_an_owner_breaks_a_recipient(town: Town, carol2: Scripted, method: str, route: str) -> None:
    sharing = f"broken-{method}-{route}".replace("/", "-")
    token = carol2.shares(town.bob, sharing)
    headers = {"Content-Type": "application/json"}
    for body in bodies():
        answer = town.bob.call(method, f"/sharings/{sharing}/{route}", token=token, content=body, headers=headers)
        assert answer.status_code < 500, (body[:200], answer.status_code, answer.text)


@pytest.mark.parametrize("id", ["_design/x", "_local", "a" * 2000, "../..", "%00", " ", "é"])
def test_a_request_with_a_strange_id_is_refused_or_stored_as_it_is(town: Town, carol2: Scripted, id: str) -> None:
    answer = carol2.invites(town.carol, id)
    assert answer.status_code in (201, 400, 404, 405, 414, 422, 431), (id, answer.status_code, answer.text)


def test_a_huge_request_is_refused(town: Town, carol2: Scripted) -> None:
    assert carol2.invites(town.carol, "huge", "x" * 3_000_000).status_code == 413


@pytest.mark.parametrize("kind", ["banana", "Directory"])
def test_a_drive_is_a_directory_or_a_file(town: Town, carol2: Scripted, kind: str) -> None:
    alice = town.alice
    shared = folder(alice, f"Drive {kind}")
    attributes = {"drive": True, "drive_root_type": kind, "rules": [rule(shared, doctype="io.cozy.files")]}
    relationships = people(contact(alice, f"drive{kind}"))
    answer = alice.post(
        "/sharings/", *ALL, json_body={"data": {"attributes": attributes, "relationships": relationships}}
    )
    assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (400, "A rule is invalid")
    assert carol2.invites(town.bob, f"drive-{kind}", drive=True, drive_root_type=kind).status_code == 400


def test_an_avatar_out_of_reach_is_made_of_initials(town: Town) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, "away", url="http://away.localhost:1")))
    for query in ("", "?fallback=404"):
        shown = alice.get(f"/sharings/{sharing}/recipients/1/avatar{query}")
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/svg+xml")
