"""Drives of somebody who is trusted are accepted without a question (spec/04 §21)."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from tests.api.sharing_town import ALL, Body, Scripted, attributes, carol2, contact, eventually, rule, update
from tests.servers import Person, RunningServer

__all__ = ["carol2"]

OPTIONS = {"auto_accept_trusted": True, "auto_accept_trusted_contacts": True, "trusted_domains": ["partner.localhost"]}
CONTEXTS = {
    "default": {"sharing": OPTIONS},
    "plain": {"files": {}},
    "careful": {"sharing": {}},
    "domains": {"sharing": {"auto_accept_trusted": True, "trusted_domains": ["CAROL2.localhost."]}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("trusting"), contexts=CONTEXTS).start()
    yield server
    server.stop()


def drive_from(carol2: Scripted, person: Person, sharing: str, state: str = "a-state") -> None:
    """Carol2's server tells of a drive, and gives credentials when it is accepted."""
    key = base64.b64encode(bytes(16)).decode()
    reply: Body = {"data": {"attributes": {**carol2.credentials(sharing), "xor_key": key}}}
    carol2.on("POST", f"/sharings/{sharing}/answer$", (200, reply))
    root = rule("fedcba9876543210", kind="none", doctype="io.cozy.files", title="Drive of carol2")
    drive = {"drive": True, "rules": [root], "credentials": [{"state": state, "drive_token": "drive"}]}
    assert carol2.invites(person, sharing, **drive).status_code == 201


def trust(person: Person, carol2: Scripted) -> None:
    """Carol2 is in the address book, and trusted."""
    contact(person, "carol2", email=carol2.email, trustedForSharing=True)


def test_a_trusted_contact_is_accepted_by_the_options_of_the_default_context(
    server: RunningServer, carol2: Scripted
) -> None:
    for name, context in (("bob", None), ("carol", "plain")):
        person = server.add(name, passphrase="cozy", context=context or "default")
        trust(person, carol2)
        drive_from(carol2, person, f"drive-for-{name}")
        sent = carol2.got("POST", f"/sharings/drive-for-{name}/answer$").json["data"]["attributes"]
        assert sent["state"] == "a-state"
        eventually(lambda p=person, n=name: bool(attributes(p, f"drive-for-{n}").get("active")), "it is accepted")


def test_who_is_at_a_trusted_domain_is_accepted(server: RunningServer, carol2: Scripted) -> None:
    person = server.add("bob2", passphrase="cozy", context="domains")
    drive_from(carol2, person, "drive-for-bob2")
    carol2.got("POST", "/sharings/drive-for-bob2/answer$")
    eventually(lambda: bool(attributes(person, "drive-for-bob2").get("active")), "it is accepted")


def test_others_wait_for_their_user(server: RunningServer, carol2: Scripted) -> None:
    careful = server.add("bob5", passphrase="cozy", context="careful")
    trust(careful, carol2)
    stranger = server.add("alice5", passphrase="cozy")
    known = contact(stranger, "carol2", email=carol2.email)
    stateless = server.add("alice2", passphrase="cozy")
    trust(stateless, carol2)
    for person in (careful, stranger):
        drive_from(carol2, person, f"drive-for-{person.name}")
    drive_from(carol2, stateless, "drive-for-alice2", state="")
    update(stranger, "io.cozy.contacts", known, trustedForSharing=True)
    drive_from(carol2, stranger, "another-drive")
    carol2.got("POST", "/sharings/another-drive/answer$")  # what came before it would have been answered before it
    for person in (careful, stranger, stateless):
        assert carol2.count("POST", f"/sharings/drive-for-{person.name}/answer$") == 0
        found = person.get(f"/sharings/drive-for-{person.name}", *ALL).json()["data"]["attributes"]
        assert not found.get("active")
