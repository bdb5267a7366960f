"""Shared password organizations: what happens to the vault happens to them (spec/04 §19.8, §22)."""

from __future__ import annotations

from typing import Any

from tests.api.sharing_town import Body, Scripted, Town, carol2, contact, eventually, people, rule, town
from tests.servers import Person

from inglenook.identity.instance import SETTINGS, VAULT_SETTINGS
from inglenook.storage.documents.contract import Writer

__all__ = ["carol2", "town"]

ORGANIZATIONS, CIPHERS, CONTACTS = "com.bitwarden.organizations", "com.bitwarden.ciphers", "com.bitwarden.contacts"
SCOPES = (ORGANIZATIONS, CIPHERS, CONTACTS, "io.cozy.contacts")


def made(person: Person, doctype: str, body: Body) -> str:
    """A document of the password app."""
    answer = person.post(f"/data/{doctype}/", *SCOPES, json_body=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def rules(organization: str) -> list[Body]:
    """The rules of a shared organization."""
    return [
        {**rule(organization, doctype=ORGANIZATIONS), "remove": "revoke"},
        {**rule(organization, doctype=CIPHERS), "title": "ciphers", "selector": "organization_id"},
    ]


def attributes(person: Person, sharing: str) -> Body:
    answer = person.get(f"/sharings/{sharing}", *SCOPES)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["attributes"]


def share_passwords(owner: Person, carol2: Scripted) -> tuple[str, str]:
    """An organization shared with carol2, who is invited by mail; gives its id and that of the sharing."""
    organization = made(owner, ORGANIZATIONS, {"name": "Family"})
    invited = contact(owner, "carol2-vault", email=carol2.email, url=carol2.url)
    body = {"description": "Family", "rules": rules(organization)}
    answer = owner.post(
        "/sharings/", *SCOPES, json_body={"data": {"attributes": body, "relationships": people(invited)}}
    )
    assert answer.status_code == 201, answer.text
    return organization, answer.json()["data"]["id"]


def replace_keys(person: Person, **keys: str) -> None:
    """The vault of a person gets these keys."""

    def write(tx: Writer) -> None:
        vault = tx.find(SETTINGS, VAULT_SETTINGS)
        tx.put(SETTINGS, VAULT_SETTINGS, {**vault.body, **keys}, rev=vault.rev)

    person.server.do(lambda _: person.instance.store.write(write))


def forget(person: Person, contact_id: str) -> None:
    """The vault of a person loses a contact."""

    def write(tx: Writer) -> None:
        tx.delete(CONTACTS, contact_id, tx.find(CONTACTS, contact_id).rev)

    person.server.do(lambda _: person.instance.store.write(write))


def test_a_contact_deleted_from_the_vault_is_revoked_with_his_key(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    organization, sharing = share_passwords(alice, carol2)
    carol2.join(alice, sharing)
    key: dict[str, Any] = {"bitwarden": {"user_id": "carol2-vault-id", "public_key": "carol2-public-key"}}
    token = carol2.answer_again(alice, sharing, **key)
    assert alice.get(f"/data/{CONTACTS}/carol2-vault-id", *SCOPES).json()["public_key"] == "carol2-public-key"
    entries = alice.get(f"/data/{ORGANIZATIONS}/{organization}", *SCOPES).json()["members"]
    assert next(iter(entries.values()))["status"] == 1
    forget(alice, "carol2-vault-id")
    eventually(lambda: attributes(alice, sharing)["members"][1]["status"] == "revoked")
    carol2.got("DELETE", f"/sharings/{sharing}$")
    eventually(lambda: not alice.get(f"/data/{ORGANIZATIONS}/{organization}", *SCOPES).json()["members"])
    assert alice.post(f"/sharings/{sharing}/_revs_diff", token=token, json_body={}).status_code == 400


def test_new_keys_of_a_vault_end_what_they_cannot_open(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    _, sharing = share_passwords(alice, carol2)
    carol2.join(alice, sharing)
    carol2.shares(bob, "passwords", rules=rules("0123456789abcdef"))
    assert attributes(bob, "passwords")["active"] is True
    replace_keys(alice, key="changed with the passphrase")
    replace_keys(alice, public_key="another public key")
    replace_keys(bob, public_key="another public key")
    eventually(lambda: "active" not in attributes(alice, sharing))
    carol2.got("DELETE", f"/sharings/{sharing}$")
    eventually(lambda: "active" not in attributes(bob, "passwords"))
    carol2.got("DELETE", "/sharings/passwords/answer$")


def test_the_first_keys_of_a_vault_are_told_to_the_owners_of_shared_organizations(town: Town, carol2: Scripted) -> None:
    carol = town.carol
    replace_keys(carol, public_key="")
    carol2.shares(carol, "first-keys", rules=rules("0123456789abcdef"))
    replace_keys(carol, public_key="the first public key")
    told = carol2.got("POST", "/sharings/first-keys/public-key$").json["data"]
    assert told["attributes"]["bitwarden"] == {"user_id": carol.instance.id, "public_key": "the first public key"}
