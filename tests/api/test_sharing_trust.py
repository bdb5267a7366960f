"""Drives of somebody who is trusted are accepted without a question (spec/04 §21)."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from tests.api.sharing_town import ALL, Body, Scripted, attributes, contact, eventually, fay, rule, update
from tests.servers import Person, RunningServer

__all__ = ["fay"]

OPTIONS = {"auto_accept_trusted": True, "auto_accept_trusted_contacts": True, "trusted_domains": ["partner.localhost"]}
CONTEXTS = {
    "default": {"sharing": OPTIONS},
    "plain": {"files": {}},
    "careful": {"sharing": {}},
    "domains": {"sharing": {"auto_accept_trusted": True, "trusted_domains": ["FAY.localhost."]}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("trusting"), contexts=CONTEXTS).start()
    yield server
    server.stop()


def drive_from(fay: Scripted, person: Person, sharing: str, state: str = "a-state") -> None:
    """Fay's server tells of a drive, and gives credentials when it is accepted."""
    key = base64.b64encode(bytes(16)).decode()
    reply: Body = {"data": {"attributes": {**fay.credentials(sharing), "xor_key": key}}}
    fay.on("POST", f"/sharings/{sharing}/answer$", (200, reply))
    root = rule("fedcba9876543210", kind="none", doctype="io.cozy.files", title="Drive of fay")
    drive = {"drive": True, "rules": [root], "credentials": [{"state": state, "drive_token": "drive"}]}
    assert fay.invites(person, sharing, **drive).status_code == 201


def trust(person: Person, fay: Scripted) -> None:
    """Fay is in the address book, and trusted."""
    contact(person, "fay", email=fay.email, trustedForSharing=True)


def test_a_trusted_contact_is_accepted_by_the_options_of_the_default_context(
    server: RunningServer, fay: Scripted
) -> None:
    for name, context in (("bob", None), ("carol", "plain")):
        person = server.add(name, passphrase="cozy", context=context or "default")
        trust(person, fay)
        drive_from(fay, person, f"drive-for-{name}")
        sent = fay.got("POST", f"/sharings/drive-for-{name}/answer$").json["data"]["attributes"]
        assert sent["state"] == "a-state"
        eventually(lambda p=person, n=name: bool(attributes(p, f"drive-for-{n}").get("active")), "it is accepted")


def test_who_is_at_a_trusted_domain_is_accepted(server: RunningServer, fay: Scripted) -> None:
    person = server.add("dora", passphrase="cozy", context="domains")
    drive_from(fay, person, "drive-for-dora")
    fay.got("POST", "/sharings/drive-for-dora/answer$")
    eventually(lambda: bool(attributes(person, "drive-for-dora").get("active")), "it is accepted")


def test_others_wait_for_their_user(server: RunningServer, fay: Scripted) -> None:
    careful = server.add("emil", passphrase="cozy", context="careful")
    trust(careful, fay)
    stranger = server.add("fred", passphrase="cozy")
    known = contact(stranger, "fay", email=fay.email)
    stateless = server.add("gina", passphrase="cozy")
    trust(stateless, fay)
    for person in (careful, stranger):
        drive_from(fay, person, f"drive-for-{person.name}")
    drive_from(fay, stateless, "drive-for-gina", state="")
    update(stranger, "io.cozy.contacts", known, trustedForSharing=True)
    drive_from(fay, stranger, "another-drive")
    fay.got("POST", "/sharings/another-drive/answer$")  # what came before it would have been answered before it
    for person in (careful, stranger, stateless):
        assert fay.count("POST", f"/sharings/drive-for-{person.name}/answer$") == 0
        found = person.get(f"/sharings/drive-for-{person.name}", *ALL).json()["data"]["attributes"]
        assert not found.get("active")
