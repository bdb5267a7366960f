"""The address book as sharings use it (spec/04 §4, spec/07 §6), on a real store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from inglenook.contacts import address_book
from inglenook.contacts.address_book import CONTACT_INDEXES, CONTACTS, GROUPS, Contact, contact_of
from inglenook.environment import Config, Environment
from inglenook.kernel.errors import DocumentNotFound
from inglenook.storage.documents.contract import DocumentStore
from inglenook.storage.documents.sqlite import SqliteStores

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[DocumentStore]:
    stores = SqliteStores(tmp_path, Environment(Config(data=tmp_path, dev=True)))
    yield await stores.open("alice", indexes=CONTACT_INDEXES)
    await stores.close()


async def add(store: DocumentStore, id: str, doctype: str = CONTACTS, **body: Any) -> None:
    await store.write(lambda tx: tx.put(doctype, id, body))


async def body_of(store: DocumentStore, id: str) -> dict[str, Any]:
    return (await store.read(lambda view: view.find(CONTACTS, id))).body


def in_group(*groups: str, name: str = "groups") -> dict[str, Any]:
    return {"relationships": {name: {"data": [{"_id": group, "_type": GROUPS} for group in groups]}}}


# -- who a contact is


@pytest.mark.parametrize(
    ("entries", "address"),
    [
        ([{"address": "a@x.y"}, {"address": "b@x.y"}], "a@x.y"),
        ([{"address": "a@x.y"}, {"address": "b@x.y", "primary": True}], "b@x.y"),
        ([{"address": "a@x.y", "primary": True}, {"address": "b@x.y", "primary": True}], "b@x.y"),
        ([{"address": "a@x.y"}, {"primary": True}], "a@x.y"),
        ([{"address": " a@x.y "}], "a@x.y"),
        ([{"type": "work"}, {"address": "b@x.y"}], "b@x.y"),
        ([{"type": "work"}], ""),
        ([], ""),
        (None, ""),
        ("a@x.y", ""),
        (["a@x.y", None, 3], ""),
        ([{"address": 7}], ""),
        ([{"address": "a@x.y", "primary": "true"}, {"address": "b@x.y"}], "a@x.y"),
    ],
)
def test_the_last_primary_address_is_used_else_the_first(entries: object, address: str) -> None:
    assert contact_of("c", {"email": entries}).email == address


@pytest.mark.parametrize(
    ("url", "instance"),
    [
        ("https://bob.example/", "https://bob.example/"),
        ("http://bob.localhost:8080", "http://bob.localhost:8080"),
        ("bob.example", "https://bob.example"),
        ("", ""),
    ],
)
def test_the_address_of_a_server_gets_a_scheme_and_nothing_else(url: str, instance: str) -> None:
    assert contact_of("c", {"cozy": [{"url": url}]}).instance == instance


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"fullname": "Ada L.", "name": {"givenName": "Ada"}}, "Ada L."),
        ({"name": {"givenName": "Ada", "familyName": "Lovelace"}}, "Ada Lovelace"),
        ({"name": {"familyName": "Lovelace"}}, "Lovelace"),
        ({"fullname": 7, "name": "Ada"}, ""),
        ({}, ""),
    ],
)
def test_the_name_is_the_full_name_else_given_and_family_name(body: dict[str, Any], name: str) -> None:
    assert contact_of("c", body).name == name


def test_a_contact_of_strange_types_is_an_empty_one() -> None:
    strange = {key: [[], 3] for key in ("email", "cozy", "phone", "name", "relationships", "indexes", "metadata", "me")}
    assert contact_of("c", strange) == Contact("c", "", "", "")


# -- finding


async def test_a_contact_is_found_by_any_of_its_addresses(store: DocumentStore) -> None:
    await add(store, "b", fullname="Bob", email=[{"address": "bob@work.example"}, {"address": "Bob@Home.example"}])
    for email in ("bob@work.example", " bob@work.example ", "Bob@Home.example", "bob@home.EXAMPLE"):
        found = await store.read(lambda view, e=email: address_book.find_by_email(view, e))
        assert found is not None
        assert found.name == "Bob"
    for email in ("", " ", "bob@work.exampl", "bob@work.examplee", "carol@work.example"):
        assert await store.read(lambda view, e=email: address_book.find_by_email(view, e)) is None
        assert await store.read(lambda view, e=email: address_book.name_of_email(view, e)) == ""


async def test_the_exact_writing_of_an_address_goes_first(store: DocumentStore) -> None:
    await add(store, "a", fullname="First", email=[{"address": "BOB@x.y"}])
    await add(store, "b", fullname="Second", email=[{"address": "bob@x.y"}])
    assert await store.read(lambda view: address_book.name_of_email(view, "bob@x.y")) == "Second"
    assert await store.read(lambda view: address_book.name_of_email(view, "Bob@x.y")) == "First"


async def test_contacts_in_the_trash_are_not_found(store: DocumentStore) -> None:
    await add(store, "b", fullname="Bob", email=[{"address": "bob@x.y"}], trashed=True, **in_group("g"))
    await add(store, "g", GROUPS, name="Friends", trashed=True)
    assert await store.read(lambda view: address_book.find_by_email(view, "bob@x.y")) is None
    assert await store.read(lambda view: address_book.contacts_of_group(view, "g")) == []
    assert (await store.read(lambda view: address_book.find_contact(view, "b"))).name == "Bob"
    with pytest.raises(DocumentNotFound):
        await store.read(lambda view: address_book.find_group(view, "g"))


async def test_unknown_contacts_and_groups_are_not_found(store: DocumentStore) -> None:
    for find in (address_book.find_contact, address_book.find_group):
        with pytest.raises(DocumentNotFound):
            await store.read(lambda view, f=find: f(view, "nobody"))


async def test_a_group_gives_its_contacts_in_the_order_of_the_address_book(store: DocumentStore) -> None:
    await add(store, "g", GROUPS, name="Friends")
    order = "byFamilyNameGivenNameEmailCozyUrl"
    await add(store, "1", fullname="Zed", indexes={order: "aaa"}, **in_group("g"))
    await add(store, "2", fullname="mmm", **in_group("other", "g", name="cousins"))
    await add(store, "3", fullname="Bob", **in_group("other"))
    await add(store, "4", fullname="Ann", indexes={order: "zzz"}, **in_group("g"))
    found = await store.read(lambda view: address_book.contacts_of_group(view, "g"))
    assert [contact.name for contact in found] == ["Zed", "mmm", "Ann"]
    assert (await store.read(lambda view: address_book.find_group(view, "g"))).name == "Friends"
    assert len(await store.read(lambda view: address_book.contacts_of_group(view, "g", limit=2))) == 2


# -- what sharings write


async def test_the_address_of_a_server_is_put_first_once(store: DocumentStore) -> None:
    await add(store, "b", fullname="Bob", email=[{"address": "bob@x.y"}], cozy=[{"url": "https://old.example"}])
    assert await store.write(lambda tx: address_book.add_instance(tx, "bob@x.y", "https://bob.example"))
    assert not await store.write(lambda tx: address_book.add_instance(tx, "bob@x.y", "https://bob.example/"))
    assert not await store.write(lambda tx: address_book.add_instance(tx, "nobody@x.y", "https://bob.example"))
    body = await body_of(store, "b")
    assert body["cozy"] == [{"url": "https://bob.example"}, {"url": "https://old.example"}]
    assert body["fullname"] == "Bob"


async def test_who_moved_has_the_new_address_alone(store: DocumentStore) -> None:
    await add(store, "b", email=[{"address": "bob@x.y"}], cozy=[{"url": "https://old.example", "primary": True}])
    assert await store.write(lambda tx: address_book.replace_instance(tx, "bob@x.y", "https://new.example"))
    assert (await body_of(store, "b"))["cozy"] == [{"url": "https://new.example"}]


@pytest.mark.parametrize(
    ("body", "filled"),
    [
        ({}, True),
        ({"displayName": "bob@x.y"}, True),
        ({"displayName": "Bobby"}, False),
        ({"fullname": "Robert"}, False),
        ({"fullname": "Robert", "displayName": "bob@x.y"}, False),
    ],
)
async def test_only_a_contact_without_a_name_takes_the_one_its_server_tells(
    store: DocumentStore, body: dict[str, Any], filled: bool
) -> None:
    await add(store, "b", email=[{"address": "bob@x.y"}], **body)
    assert await store.write(lambda tx: address_book.fill_name(tx, "bob@x.y", "Bob")) is filled
    after = await body_of(store, "b")
    assert (after.get("fullname"), after.get("displayName")) == (
        ("Bob", "Bob") if filled else (body.get("fullname"), body.get("displayName"))
    )


async def test_trust_is_kept_on_the_contact_which_is_made_if_needed(store: DocumentStore) -> None:
    await add(store, "b", email=[{"address": "bob@x.y"}], note="keep me")
    assert not await store.read(lambda view: address_book.is_trusted(view, "bob@x.y"))
    await store.write(lambda tx: address_book.trust(tx, "bob@x.y"))
    assert (await body_of(store, "b"))["note"] == "keep me"
    await store.write(lambda tx: address_book.trust(tx, "carol@x.y", name="Carol", instance="https://carol.example"))
    for email in ("bob@x.y", "carol@x.y"):
        assert await store.read(lambda view, e=email: address_book.is_trusted(view, e))
    carol = await store.read(lambda view: address_book.document_by_email(view, "carol@x.y"))
    assert carol is not None
    assert carol.body == {
        "fullname": "Carol",
        "displayName": "Carol",
        "email": [{"address": "carol@x.y", "primary": True}],
        "cozy": [{"url": "https://carol.example", "primary": True}],
        "indexes": {"byFamilyNameGivenNameEmailCozyUrl": "https://carol.example"},
        "trustedForSharing": True,
    }


async def test_a_contact_known_by_its_address_alone_is_named_after_it() -> None:
    body = address_book.new_contact(" dan@x.y ", phone="123", external=True)
    assert body == {
        "fullname": "dan",
        "displayName": "dan@x.y",
        "email": [{"address": "dan@x.y", "primary": True}],
        "phone": [{"number": "123", "primary": True}],
        "metadata": {"external": True},
        "indexes": {"byFamilyNameGivenNameEmailCozyUrl": "dan@x.y"},
    }
