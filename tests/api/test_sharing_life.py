"""What happens to a sharing that lives: people, groups, rights, addresses, and its end (spec/04 §16-§20)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.api.sharing_town import (
    ALL,
    TESTS,
    Scripted,
    Town,
    add,
    attributes,
    by_path,
    carol2,
    contact,
    create,
    eventually,
    folder,
    group,
    join,
    join_groups,
    mail_to,
    member,
    people,
    rule,
    share,
    shared_document,
    state_of,
    town,
    update,
)
from tests.servers import Person

from inglenook.replication import setup
from inglenook.sharing import documents

__all__ = ["carol2", "town"]


def invited(person: Person, carol2: Scripted, **more: object) -> str:
    """A sharing to which carol2 is invited."""
    return share(person, people(contact(person, "carol2", email=carol2.email, url=carol2.url)), **more)


# -- the list of members


def test_the_members_learn_who_is_new(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    carol2.join(alice, sharing)
    assert add(alice, sharing, people(contact(alice, "carol3"))).status_code == 200
    told = carol2.got("PUT", f"/sharings/{sharing}/recipients$")
    assert told.headers["authorization"] == "Bearer a-token"
    assert told.json["data"] == [
        {"status": "owner", "public_name": "Alice", "email": "alice@example.com"},
        {"status": "ready", "public_name": "Carol2", "email": carol2.email},
        {"status": "pending", "email": "carol3@example.org"},
    ]
    assert told.json["included"] == []


def test_a_recipient_takes_the_list_and_keeps_what_he_knows(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    token = carol2.shares(bob, "list")
    path = "/sharings/list/recipients"
    sent = {
        "data": [
            {"status": "owner", "public_name": "Carol2!", "email": carol2.email},
            {"status": "ready", "public_name": "Bob", "email": "bob@example.com"},
            {"status": "pending", "email": "carol3@example.org", "read_only": True},
        ],
        "included": [{"id": "g1", "name": "Friends", "addedBy": 0, "read_only": False}],
    }
    assert bob.put(path, token=token, json_body=sent).status_code == 204
    shown = attributes(bob, "list")
    assert shown["members"][0]["instance"] == carol2.url
    assert [m["status"] for m in shown["members"]] == ["owner", "ready", "pending"]
    assert shown["groups"] == sent["included"]
    assert bob.put(path, token=token, json_body={"data": "x"}).status_code == 400
    assert bob.put(path, token=bob.token(*ALL), json_body=sent).status_code == 403
    assert bob.put(path, json_body=sent).status_code == 401


def test_a_member_whose_server_was_away_learns_the_list_when_it_is_back(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    carol2.join(alice, sharing)
    carol2.on("PUT", "/recipients$", (503, None))
    assert add(alice, sharing, people(contact(alice, "late"))).status_code == 200
    carol2.got("PUT", f"/sharings/{sharing}/recipients$")
    carol2.script.clear()
    told = carol2.got("PUT", f"/sharings/{sharing}/recipients$", 2)
    assert told.json["data"][2]["email"] == "late@example.org"


# -- delegation


def test_a_recipient_adds_people_through_the_owner(town: Town) -> None:
    alice, bob, carol = town.alice, town.bob, town.carol
    sharing = shared_document(alice, bob)
    both = people(contact(bob, "bob2"), contact(bob, "carol", email="carol@example.com", url=carol.url))
    assert add(bob, sharing, both).status_code == 200
    assert [m["status"] for m in attributes(alice, sharing)["members"]] == ["owner", "ready", "pending", "pending"]
    assert f"{bob.url}/sharings/{sharing}/discovery?state=" in mail_to(bob, "bob2@example.org")
    join(alice, carol, sharing, 3)
    form = {"state": state_of(alice, sharing, 2), "url": "me@example.org"}
    assert bob.http.post(f"/sharings/{sharing}/discovery", data=form).status_code == 412
    form["url"] = "http://gone.localhost:1"
    answer = bob.http.post(f"/sharings/{sharing}/discovery", data=form, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()) == (400, {"error": "The Cozy URL is invalid"})


def test_a_recipient_of_a_closed_sharing_adds_nobody(town: Town) -> None:
    sharing = shared_document(town.alice, town.bob, open_sharing=False)
    assert add(town.bob, sharing, people(contact(town.bob, "nobody"))).status_code == 403
    assert len(attributes(town.alice, sharing)["members"]) == 2


def test_a_reader_adds_nobody(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    reader = contact(alice, "carol2-reads", email=carol2.email, url=carol2.url)
    sharing = share(alice, people(readers=(reader,)))
    token = carol2.join(alice, sharing)
    body = {
        "data": {"relationships": {"recipients": {"data": [{"status": "mail-not-sent", "email": "x@example.org"}]}}}
    }
    path = f"/sharings/{sharing}/recipients/delegated"
    assert alice.post(path, token=token, json_body=body).status_code == 403


def test_the_wire_of_a_delegation(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    token = carol2.join(alice, sharing)
    path = f"/sharings/{sharing}/recipients/delegated"
    people_sent = [
        {"status": "mail-not-sent", "name": "Bob2", "email": "bob2@example.net"},
        {"status": "ready", "name": "Alice2", "email": "alice2@example.net", "groups": [0], "only_in_groups": True},
    ]
    groups = [{"id": "g", "name": "Friends", "addedBy": 0, "read_only": False}]
    body = {"data": {"relationships": {"recipients": {"data": people_sent}, "groups": {"data": groups}}}}
    answer = alice.post(path, token=token, json_body=body)
    assert answer.status_code == 200
    assert answer.json() == {
        "bob2@example.net": state_of(alice, sharing, 2),
        "alice2@example.net": state_of(alice, sharing, 3),
    }
    shown = attributes(alice, sharing)
    assert [m["status"] for m in shown["members"][2:]] == ["pending", "pending"], "nobody declares himself ready"
    assert shown["groups"][0]["addedBy"] == 1
    himself = {"data": {"relationships": {"recipients": {"data": [{"status": "pending", "email": carol2.email}]}}}}
    assert alice.post(path, token=token, json_body=himself).status_code == 409
    assert alice.post(path, token=alice.token(*ALL), json_body=body).status_code == 403
    remove = f"/sharings/{sharing}/groups/0/3"
    assert alice.delete(remove, token=alice.token(*ALL)).status_code == 403
    assert alice.delete(remove, token=token).status_code == 204
    assert member(alice, sharing, 3)["status"] == "revoked"


def test_an_invitation_that_comes_late(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    token = carol2.join(alice, sharing)
    bob5 = {"status": "mail-not-sent", "name": "Bob5", "groups": [0], "only_in_groups": True}
    groups = [{"id": "g", "name": "G", "addedBy": 0, "read_only": False}]
    body = {"data": {"relationships": {"recipients": {"data": [bob5]}, "groups": {"data": groups}}}}
    assert alice.post(f"/sharings/{sharing}/recipients/delegated", token=token, json_body=body).json() == {}
    path = f"/sharings/{sharing}/members/2/invitation"
    told = {
        "data": {
            "type": "io.cozy.sharings.members",
            "attributes": {"status": "mail-not-sent", "email": "bob5@example.org"},
        }
    }
    answer = alice.post(path, token=token, json_body=told)
    assert answer.json() == {"bob5@example.org": state_of(alice, sharing, 2)}
    assert member(alice, sharing, 2)["status"] == "pending"
    assert alice.post(path, token=token, json_body=told).status_code == 409
    assert alice.post(path.replace("/2/", "/9/"), token=token, json_body=told).status_code == 422


# -- groups of contacts


def test_who_enters_or_leaves_a_group_enters_or_leaves_the_sharing(town: Town) -> None:
    alice = town.alice
    first, second = contact(alice, "group-first"), contact(alice, "group-second")
    friends = group(alice, "Friends", first)
    sharing = share(alice, people(groups=(friends,)))
    join_groups(alice, second, friends)
    eventually(lambda: len(attributes(alice, sharing)["members"]) == 3)
    eventually(lambda: member(alice, sharing, 2)["status"] == "pending")
    join_groups(alice, first)
    eventually(lambda: member(alice, sharing, 1)["status"] == "revoked")
    update(alice, "io.cozy.contacts.groups", friends, name="Best friends")
    eventually(lambda: attributes(alice, sharing)["groups"][0]["name"] == "Best friends")
    assert alice.delete(f"/sharings/{sharing}/groups/0", *ALL).status_code == 204
    assert attributes(alice, sharing)["groups"][0]["revoked"] is True
    assert member(alice, sharing, 2)["status"] == "revoked"
    join_groups(alice, first, friends)
    join_groups(alice, contact(alice, "group-third"), friends)
    assert [m["status"] for m in attributes(alice, sharing)["members"]] == ["owner", "revoked", "revoked"]


def test_a_contact_of_a_group_is_invited_when_it_gets_an_address(town: Town) -> None:
    alice = town.alice
    bob5 = contact(alice, "bob5-late", email="")
    sharing = share(alice, people(contact(alice, "other"), groups=(group(alice, "Sea", bob5),)))
    assert member(alice, sharing, 2)["status"] == "mail-not-sent"
    update(alice, "io.cozy.contacts", bob5, email=[{"address": "bob5-late@example.org"}])
    eventually(lambda: member(alice, sharing, 2)["status"] == "pending")
    assert f"/sharings/{sharing}/discovery?state=" in mail_to(alice, "bob5-late@example.org")


def test_the_group_of_a_recipient_is_followed_through_the_owner(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = shared_document(alice, bob)
    first, second = contact(bob, "bobs-first"), contact(bob, "bobs-second")
    friends = group(bob, "Bob's friends", first)
    assert add(bob, sharing, people(groups=(friends,))).status_code == 200
    assert member(alice, sharing, 2)["groups"] == [0]
    join_groups(bob, second, friends)
    eventually(lambda: len(attributes(alice, sharing)["members"]) == 4)
    join_groups(bob, first)
    eventually(lambda: member(alice, sharing, 2)["status"] == "revoked")
    assert attributes(alice, sharing)["groups"][0]["addedBy"] == 1


def test_somebody_invited_by_name_stays_when_his_group_goes(town: Town) -> None:
    alice = town.alice
    both = contact(alice, "both-ways")
    friends = group(alice, "Some", both)
    sharing = share(alice, people(groups=(friends,)))
    assert add(alice, sharing, people(both)).status_code == 200
    assert alice.delete(f"/sharings/{sharing}/groups/0", *ALL).status_code == 204
    assert member(alice, sharing)["status"] == "pending"


# -- rights


def test_the_credentials_of_a_change_of_rights_work_before_the_answer_is_back(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    old = carol2.join(alice, sharing)
    push = f"/sharings/{sharing}/_bulk_docs"
    seen: list[int] = []

    def flush(call: object) -> tuple[int, None]:
        token = call.json["data"]["attributes"]["access_token"]["access_token"]  # type: ignore[attr-defined]
        seen.append(alice.post(push, token=token, json_body={}).status_code)
        return 204, None

    carol2.on("POST", "/self/readonly$", flush)
    assert alice.post(f"/sharings/{sharing}/recipients/1/readonly", *ALL).status_code == 204
    assert seen == [200]
    assert alice.post(push, token=old, json_body={}).status_code == 400


def test_rights_stay_when_the_server_of_the_member_refuses(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    token = carol2.join(alice, sharing)
    carol2.on("POST", "/self/readonly$", (500, None))
    assert alice.post(f"/sharings/{sharing}/recipients/1/readonly", *ALL).status_code == 502
    assert "read_only" not in member(alice, sharing)
    assert alice.post(f"/sharings/{sharing}/_bulk_docs", token=token, json_body={}).status_code == 200


# -- the end


def test_a_revoked_member_is_told_and_his_tokens_die(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    token = carol2.join(alice, sharing)
    assert add(alice, sharing, people(contact(alice, "stays"))).status_code == 200
    assert alice.delete(f"/sharings/{sharing}/recipients/1", *ALL).status_code == 204
    told = carol2.got("DELETE", f"/sharings/{sharing}$")
    assert told.headers["authorization"] == "Bearer a-token"
    assert alice.post(f"/sharings/{sharing}/_bulk_docs", token=token, json_body={}).status_code == 400
    shown = attributes(alice, sharing)
    assert shown["active"], "somebody may still come"
    assert [m["status"] for m in shown["members"]] == ["owner", "revoked", "pending"]
    assert carol2.answer(alice, sharing, "anything").status_code == 404
    assert alice.delete(f"/sharings/{sharing}/recipients/2", *ALL).status_code == 204
    assert "active" not in attributes(alice, sharing)


def test_a_notice_of_revocation_waits_for_a_server_that_is_away(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    carol2.join(alice, sharing)
    carol2.on("DELETE", f"/sharings/{sharing}$", (503, None))
    assert alice.delete(f"/sharings/{sharing}/recipients", *ALL).status_code == 204
    assert carol2.got("DELETE", f"/sharings/{sharing}$")
    carol2.script.clear()
    told = carol2.got("DELETE", f"/sharings/{sharing}$", 2)
    assert told.headers["authorization"] == "Bearer a-token", "the notice remembers what the sharing forgot"


def test_a_notice_renews_its_token(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    carol2.join(alice, sharing)

    def only_renewed(call: object) -> tuple[int, object]:
        fresh = call.headers["authorization"] == "Bearer renewed"  # type: ignore[attr-defined]
        return (204, None) if fresh else (400, {"error": "Expired token"})

    carol2.on("DELETE", f"/sharings/{sharing}$", only_renewed)
    assert alice.delete(f"/sharings/{sharing}/recipients/1", *ALL).status_code == 204
    assert carol2.got("DELETE", f"/sharings/{sharing}$", 2).headers["authorization"] == "Bearer renewed"
    assert carol2.count("DELETE", f"/sharings/{sharing}$") == 2


def test_the_end_for_everybody(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    shared = folder(alice, "All over", "one.txt")
    rules = [rule(shared, doctype="io.cozy.files")]
    sharing = invited(alice, carol2, rules=rules, app_slug="drive", preview_path="/preview")
    carol2.join(alice, sharing)
    assert alice.delete(f"/sharings/{sharing}/recipients", *ALL).status_code == 204
    shown = alice.get(f"/sharings/{sharing}", *ALL).json()["data"]
    assert "active" not in shown["attributes"]
    assert shown["attributes"]["triggers"] == {}
    assert shown["relationships"]["shared_docs"]["data"] is None
    references = alice.get(f"/files/{shared}", *ALL).json()["data"]["relationships"]["referenced_by"]["data"]
    assert not references
    assert alice.delete(f"/sharings/{sharing}/recipients").status_code == 403


def test_nothing_is_tracked_for_a_sharing_that_ends_while_it_is_set_up(town: Town) -> None:
    alice = town.alice
    shared = folder(alice, "Ended at once", "one.txt")
    sharing = share(alice, people(contact(alice, "bob")), rules=[rule(shared, doctype="io.cozy.files")])
    store, instance = alice.instance.store, alice.instance
    before = alice.server.do(lambda _: store.read(lambda view: documents.load(view, sharing)))
    before.active = True
    assert alice.delete(f"/sharings/{sharing}/recipients", *ALL).status_code == 204
    alice.server.do(lambda _: setup.set_up(instance, before))
    assert alice.get(f"/sharings/{sharing}", *ALL).json()["data"]["relationships"]["shared_docs"]["data"] is None


def test_a_recipient_whose_sharing_has_ended_keeps_the_folder(town: Town) -> None:
    alice, bob = town.alice, town.bob
    shared = folder(alice, "Kept folder", "one.txt")
    rules = [{**rule(shared, doctype="io.cozy.files"), "title": "Kept folder"}]
    sharing = shared_document(alice, bob, rules=rules)
    eventually(lambda: by_path(bob, "/Inbox of sharings/Kept folder/one.txt"))
    assert alice.delete(f"/sharings/{sharing}/recipients/1", *ALL).status_code == 204
    assert by_path(bob, "/Inbox of sharings/Kept folder (cancelled sharing)/one.txt"), "told before the answer"
    shown = attributes(bob, sharing)
    assert "active" not in shown
    assert shown["members"][1]["status"] == "revoked"
    again = add(alice, sharing, people(contact(alice, "bob again", url=bob.url, email="bob@example.org")))
    assert again.status_code == 200
    assert len(attributes(alice, sharing)["members"]) == 2
    join(alice, bob, sharing)
    assert attributes(bob, sharing)["active"]


def test_a_recipient_leaves(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = shared_document(alice, bob)
    assert bob.delete(f"/sharings/{sharing}/recipients/self", *ALL).status_code == 204
    assert member(alice, sharing)["status"] == "revoked"
    assert [m["status"] for m in attributes(bob, sharing)["members"]] == ["revoked", "revoked"]
    assert alice.delete(f"/sharings/{sharing}/recipients/self", *ALL).status_code == 400


def test_a_reader_can_tell_that_he_leaves(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    reader = contact(alice, "carol2-leaves", email=carol2.email, url=carol2.url)
    sharing = share(alice, people(readers=(reader,)))
    token = carol2.join(alice, sharing)
    assert alice.delete(f"/sharings/{sharing}/answer", token=token).status_code == 204
    assert member(alice, sharing)["status"] == "revoked"
    assert carol2.count("DELETE", f"/sharings/{sharing}$") == 0, "he knows"


def test_leaving_is_told_when_the_owner_comes_back(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    carol2.shares(bob, "leaving")
    carol2.on("DELETE", "/sharings/leaving/answer$", (502, None))
    assert bob.delete("/sharings/leaving/recipients/self", *ALL).status_code == 204
    carol2.got("DELETE", "/sharings/leaving/answer$")
    carol2.script.clear()
    carol2.got("DELETE", "/sharings/leaving/answer$", 2)


def test_only_the_owner_ends_a_sharing_on_a_recipient(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    token = carol2.shares(bob, "ended")
    other = carol2.shares(bob, "other")
    for wrong in (other, bob.token(*ALL), bob.token("io.cozy.sharings")):
        assert bob.delete("/sharings/ended", token=wrong).status_code == 403
    assert bob.delete("/sharings/ended").status_code == 401
    assert bob.delete("/sharings/ended", token=token).status_code == 204
    assert "active" not in attributes(bob, "ended")
    assert bob.delete("/sharings/ended", token=token).status_code == 400, "the token has died with it"


@pytest.mark.parametrize("index", ["0", "2", "-1", "x", "99999999999"])
def test_there_is_nobody_at_a_wrong_index(town: Town, index: str) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, f"index{index}")))
    for method, path in (("DELETE", f"recipients/{index}"), ("POST", f"recipients/{index}/readonly")):
        assert alice.call(method, f"/sharings/{sharing}/{path}", *ALL).status_code == 422
    assert alice.delete(f"/sharings/{sharing}/groups/{index}", *ALL).status_code == 422


# -- many at once


def test_nobody_is_lost_when_many_are_added_at_once(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    contacts = [contact(alice, f"crowd{n}") for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        joining = pool.submit(carol2.join, alice, sharing)
        added = list(pool.map(lambda id: add(alice, sharing, people(id)).status_code, contacts))
        joining.result()
    assert added == [200] * 12
    shown = attributes(alice, sharing)["members"]
    assert len(shown) == 14
    assert shown[1]["status"] == "ready"


def test_another_rule_of_another_doctype_is_no_business_of_mine(town: Town) -> None:
    alice = town.alice
    id = create(alice, TESTS, {"n": 1})
    sharing = share(alice, people(contact(alice, "rights")), [rule(id)])
    assert alice.get(f"/sharings/{sharing}", f"io.cozy.tests:GET:{id}").status_code == 200
    assert alice.get(f"/sharings/{sharing}", "io.cozy.tests:GET:other").status_code == 403
    assert alice.get(f"/sharings/{sharing}", "io.cozy.sharings").status_code == 403


# -- the shared folder


def trash(person: Person, id: str) -> None:
    """Put a file or folder in the trash."""
    assert person.delete(f"/files/{id}", *ALL).status_code == 200


def test_the_name_of_the_folder_is_the_name_of_the_sharing(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    shared = folder(alice, "First name", "one.txt")
    sharing = invited(alice, carol2, rules=[rule(shared, doctype="io.cozy.files")])
    carol2.join(alice, sharing)
    body = {"data": {"type": "io.cozy.files", "id": shared, "attributes": {"name": "Second name"}}}
    assert alice.patch(f"/files/{shared}", *ALL, json_body=body).status_code == 200
    assert attributes(alice, sharing)["description"] == "Second name"
    assert carol2.got("PUT", f"/sharings/{sharing}/metadata$").json == {"description": "Second name"}


@pytest.mark.parametrize("above", [False, True])
def test_a_folder_in_the_trash_ends_the_sharing_and_removes_nothing_at_the_others(town: Town, above: bool) -> None:
    alice, bob = town.alice, town.bob
    name = f"To the trash {above}"
    outer = folder(alice, f"Around {above}")
    made = alice.post(f"/files/{outer if above else 'io.cozy.files.root-dir'}?Type=directory&Name={name}", *ALL)
    shared = made.json()["data"]["id"]
    headers = {"Content-Type": "text/plain"}
    sent = alice.post(f"/files/{shared}?Type=file&Name=one.txt", *ALL, content=b"one", headers=headers)
    assert sent.status_code == 201
    sharing = shared_document(alice, bob, rules=[{**rule(shared, doctype="io.cozy.files"), "title": name}])
    eventually(lambda: by_path(bob, f"/Inbox of sharings/{name}/one.txt"))
    trash(alice, outer if above else shared)
    assert "active" not in attributes(alice, sharing)
    eventually(lambda: "active" not in attributes(bob, sharing))
    assert by_path(bob, f"/Inbox of sharings/{name} (cancelled sharing)/one.txt")


def test_a_recipient_who_trashes_the_folder_leaves(town: Town) -> None:
    alice, bob = town.alice, town.bob
    shared = folder(alice, "Thrown away", "one.txt")
    sharing = shared_document(alice, bob, rules=[{**rule(shared, doctype="io.cozy.files"), "title": "Thrown away"}])
    eventually(lambda: by_path(bob, "/Inbox of sharings/Thrown away/one.txt"))
    received = by_path(bob, "/Inbox of sharings/Thrown away")
    assert received
    trash(bob, received["id"])
    assert "active" not in attributes(bob, sharing)
    eventually(lambda: member(alice, sharing)["status"] == "revoked")
    assert by_path(alice, "/Thrown away/one.txt")
    assert by_path(bob, "/.cozy_trash/Thrown away/one.txt")
