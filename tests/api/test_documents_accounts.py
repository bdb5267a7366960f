"""Accounts of other services: their secrets, their deletion (spec/01 §12)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.api.shelf import Shelf
from tests.servers import Person

from inglenook.documents import accounts
from inglenook.documents.accounts import ACCOUNTS, SOFT_DELETED, TRIGGERS, Vault
from inglenook.environment import Randomness
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Reader

SECRETS = {"login": "me", "password": "hush", "access_token": "abc", "other": 1}


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    return Shelf(alice, ACCOUNTS, ACCOUNTS)


def stored(shelf: Shelf, doctype: str, id: str) -> dict[str, Any] | None:
    def read(view: Reader) -> dict[str, Any] | None:
        document = view.get(doctype, id)
        return None if document is None else document.body

    return shelf.person.server.do(lambda _: shelf.person.instance.store.read(read))


def test_secrets_are_encrypted_before_they_are_stored(shelf: Shelf) -> None:
    made = shelf.create(auth=SECRETS, data={"auth": {"code": [1, 2]}}, account_type="bank")
    auth = made["auth"]
    assert set(auth) == {"login", "credentials_encrypted", "access_token_encrypted", "other"}
    assert base64.b64decode(auth["credentials_encrypted"]).startswith(b"nacl")
    assert set(made["data"]["auth"]) == {"code_encrypted"}
    assert made["name"] == "me"
    assert set(made["cozyMetadata"]) >= {"doctypeVersion", "metadataVersion", "createdAt", "updatedAt"}
    assert shelf.read(made["_id"])["auth"] == auth
    updated = shelf.put(made["_id"], **{**made, "auth": {**auth, "password": "new"}})
    assert "password" not in updated["auth"]
    assert updated["auth"]["credentials_encrypted"] != auth["credentials_encrypted"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"auth": {"login": "me"}}, "me"),
        ({"auth": {"email": "a@example.com", "login": "me"}, "identifier": "email"}, "a@example.com"),
        ({"auth": {"email": "a@example.com"}, "identifier": "zz"}, None),
        ({"name": "kept"}, "kept"),
    ],
)
def test_an_account_is_named_after_its_identifier(shelf: Shelf, fields: dict[str, Any], name: str | None) -> None:
    assert shelf.create(**fields).get("name") == name


@pytest.mark.parametrize("how", ["bulk", "put", "replicate"])
def test_every_way_of_writing_encrypts_before_it_stores(shelf: Shelf, how: str) -> None:
    id, account = f"by-{how}", {"auth": {"login": "me", "password": "hush"}, "data": {"auth": {"code": 1}}}
    if how == "bulk":
        shelf.bulk({"_id": id, **account})
    elif how == "put":
        shelf.put(id, **account)
    else:
        shelf.replicate({"_id": id, "_rev": "1-" + "a" * 32, **account})
    document = stored(shelf, ACCOUNTS, id)
    assert document is not None
    assert set(document["auth"]) == {"login", "credentials_encrypted"}
    assert set(document["data"]["auth"]) == {"code_encrypted"}
    assert shelf.read(id)["_rev"].startswith("1-")


def test_a_bulk_write_completes_accounts_and_keeps_what_they_say(shelf: Shelf) -> None:
    mine = {"createdAt": "2020-01-01T00:00:00Z"}
    answers = shelf.bulk({"auth": {"login": "me", "password": "hush"}}, {"auth": {"login": "me"}, "cozyMetadata": mine})
    first, second = (shelf.read(answer["id"]) for answer in answers)
    assert first["name"] == second["name"] == "me"
    assert first["cozyMetadata"]["metadataVersion"] == 1
    assert second["cozyMetadata"] == mine
    (changed,) = shelf.bulk({**{k: v for k, v in first.items() if k != "_type"}, "auth": {"password": "new"}})
    assert set(shelf.read(changed["id"])["auth"]) == {"credentials_encrypted"}


def test_secrets_that_are_stored_in_clear_are_encrypted_by_the_next_read(shelf: Shelf) -> None:
    instance = shelf.person.instance
    shelf.person.server.do(
        lambda _: instance.store.write(lambda tx: tx.put(ACCOUNTS, "old", {"auth": {"password": "hush"}}))
    )
    document = shelf.read("old")
    assert document["_rev"].startswith("2-")
    assert set(document["auth"]) == {"credentials_encrypted"}
    assert shelf.read("old")["_rev"] == document["_rev"]


def test_only_konnectors_and_apps_that_ask_see_secrets(shelf: Shelf) -> None:
    made = shelf.create(auth=SECRETS)
    instance = shelf.person.instance
    vault = Vault(instance.doc.oauth_secret, Randomness().bytes)
    assert vault.decrypt({"auth": made["auth"]}) == {"auth": SECRETS}
    assert "password" not in shelf.get(f"/{made['_id']}", params={"include": "credentials"})["auth"]


def test_what_cannot_be_decrypted_stays_as_it_is() -> None:
    vault = Vault(b"secret" * 8, Randomness().bytes)
    sealed = vault.encrypt({"auth": {"password": "hush", "secret": {"a": 1}}})
    assert vault.decrypt(sealed) == {"auth": {"login": "", "password": "hush", "secret": {"a": 1}}}
    other = Vault(b"another" * 8, Randomness().bytes)
    assert other.decrypt(sealed) == sealed
    odd = {"auth": {"secret_encrypted": 5, "code_encrypted": "!!", "dob_encrypted": "bmFjbA=="}}
    assert other.decrypt(odd) == {"auth": {"secret": 5, "code_encrypted": "!!", "dob_encrypted": "bmFjbA=="}}
    assert vault.encrypt({"auth": "text"}) == {"auth": "text"}
    assert not accounts.has_plain_secrets(sealed)


def test_a_deleted_account_leaves_a_copy_and_takes_its_triggers_away(shelf: Shelf) -> None:
    made = shelf.create(auth=SECRETS, account_type="bank")
    id = made["_id"]

    def plant(tx: Any) -> str:
        tx.put(TRIGGERS, tx.new_id(), {"worker": "konnector", "message": {"account": "another"}})
        return tx.put(TRIGGERS, tx.new_id(), {"worker": "konnector", "message": {"account": id}}).id

    trigger = shelf.person.server.do(lambda _: shelf.person.instance.store.write(plant))
    shelf.remove(made)
    copy = stored(shelf, SOFT_DELETED, id)
    assert copy is not None
    assert copy["soft_deleted_rev"] == made["_rev"]
    assert stored(shelf, TRIGGERS, trigger) is None
    assert shelf.get(f"/{id}", params={"rev": made["_rev"]})["account_type"] == "bank"
    assert shelf.refusal("GET", f"/{id}") == (404, "not_found", "deleted")
    assert shelf.refusal("GET", f"/{id}", params={"rev": "1-a"}) == (404, "not_found", "missing")


@pytest.mark.parametrize("how", ["bulk", "put", "replicate"])
def test_every_way_of_deletion_leaves_the_copy(shelf: Shelf, how: str) -> None:
    made = shelf.create(account_type="bank")
    gone = {"_id": made["_id"], "_rev": made["_rev"], "_deleted": True}
    if how == "bulk":
        shelf.bulk(gone)
    elif how == "put":
        shelf.put(made["_id"], **gone)
    else:
        ids = ["f" * 32, made["_rev"].partition("-")[2]]
        shelf.replicate({**gone, "_rev": "2-" + ids[0], "_revisions": {"start": 2, "ids": ids}})
    assert (stored(shelf, SOFT_DELETED, made["_id"]) or {})["soft_deleted_rev"] == made["_rev"]


def test_the_end_of_a_conflict_is_not_the_end_of_the_account(shelf: Shelf) -> None:
    for letter in "ab":
        shelf.replicate({"_id": "both", "_rev": "1-" + letter * 32, "account_type": "bank"})
    shelf.call("DELETE", "/both", params={"rev": "1-" + "a" * 32})
    assert shelf.read("both")["_rev"] == "1-" + "b" * 32
    assert stored(shelf, SOFT_DELETED, "both") is None
    shelf.bulk({"_id": "both", "_rev": "1-" + "b" * 32, "_deleted": True})
    assert (stored(shelf, SOFT_DELETED, "both") or {})["soft_deleted_rev"] == "1-" + "b" * 32


def test_an_account_that_cleans_itself_or_has_no_type_leaves_nothing(shelf: Shelf) -> None:
    for fields in ({"account_type": "bank", "manual_cleaning": True}, {"auth": {}}):
        made = shelf.create(**fields)
        shelf.remove(made)
        assert stored(shelf, SOFT_DELETED, made["_id"]) is None


def test_the_kinds_of_tokens_are_told_apart() -> None:
    assert accounts.sees_secrets(Permit(kind="konnector"), None)
    assert accounts.sees_secrets(Permit(kind="app"), "credentials")
    assert not accounts.sees_secrets(Permit(kind="app"), None)
    assert not accounts.sees_secrets(Permit(kind="oauth"), "credentials")
