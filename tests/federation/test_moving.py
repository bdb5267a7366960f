"""Somebody who shares moves to another server: the sharing goes on from there (spec/12 §9, §10)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from .conftest import Town
from .people import INBOX, Person, Shared, share_folder
from .postbox import Postbox
from .processes import Server, eventually


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory, mails: Postbox) -> Iterator[Server]:
    """A server that people move to."""
    server = Server(tmp_path_factory.mktemp("elsewhere"), {"INGLENOOK_SMTP_URL": mails.url})
    server.launch()
    server.wait_until_up()
    yield server
    server.kill()
    assert server.errors == []


def move(person: Person, elsewhere: Server, mails: Postbox) -> Person:
    """Move somebody as a wizard would do it; gives them at their new address."""
    there = Person(elsewhere, f"{person.name}new").move_in()
    client = elsewhere.ask("instances", "client-oauth", there.domain, "http://localhost", "Wizard", "wizard")
    target_token = elsewhere.ask("instances", "token-oauth", there.domain, client, "io.cozy.imports:POST")
    person.cookies.clear()
    person.login()
    wish = {"state": "s", "redirect_uri": "https://move.example.org/back"}
    agreed = person.browse("POST", "/move/authorize", data=wish)
    code = re.search(r"[?&]code=(\w+)", agreed.headers["location"])
    assert code is not None
    form = {"code": code[1], "target_url": there.url, "target_token": target_token}
    assert person.browse("POST", "/move/request", data=form).status_code == 200

    def secret() -> str:
        found = re.search(r"/move/go\?secret=(\w+)", mails.last_to(person.email))
        return found[1] if found else ""

    going = person.browse("POST", "/move/go", data={"secret": eventually(secret, "a mail to confirm the move")})
    assert going.status_code == 303, going.text
    assert going.headers["location"] == f"{there.url}/move/importing"
    eventually(
        lambda: there.call("GET", "/sharings/doctype/io.cozy.files").json().get("data"), "the sharings have arrived"
    )
    return there


def both_ways(shared: Shared, mover: str, there: Person, other: Person, label: str) -> None:
    """What is done on one side arrives on the other."""
    here = Shared(
        shared.id, shared.title, shared.owner, [there, other], {**shared.places, there.name: shared.places[mover]}
    )
    other.upload(f"{label}-from-other.txt", b"from the one who stayed", here.place(other))
    eventually(lambda: there.find(here.place(there), f"{label}-from-other.txt"), "a change reaches the new address")
    there.upload(f"{label}-from-mover.txt", b"from the one who moved", here.place(there))
    eventually(lambda: other.find(here.place(other), f"{label}-from-mover.txt"), "a change comes from the new address")
    here.agree()


def test_an_owner_moves_and_the_recipient_follows(town: Town, elsewhere: Server) -> None:
    carol4 = Person(town.alice.server, "carol4").move_in()
    shared = share_folder(carol4, "Owner moves", [town.bob])
    carol4.upload("before.txt", b"before", shared.place(carol4))
    shared.agree("before.txt")
    there = move(carol4, elsewhere, town.mails)
    eventually(lambda: town.bob.sharing(shared.id)["members"][0]["instance"] == there.url, "bob knows the new address")
    both_ways(shared, "carol4", there, town.bob, "owner")
    [summary] = elsewhere.ask("instances", "imports", there.domain, "--json").splitlines()
    told = json.loads(summary)["sharings"]
    assert told == [{"sharing": shared.id, "instance": town.bob.domain, "state": "told"}]
    assert there.sharing(shared.id)["moved_from"] == carol4.url


def test_a_recipient_moves_and_the_owner_follows(town: Town, elsewhere: Server) -> None:
    alice2 = Person(town.carol.server, "alice2").move_in()
    shared = share_folder(town.bob, "Recipient moves", [alice2])
    town.bob.upload("before.txt", b"before", shared.place(town.bob))
    shared.agree("before.txt")
    there = move(alice2, elsewhere, town.mails)
    assert there.at(f"{INBOX}/Recipient moves") is not None
    eventually(lambda: town.bob.sharing(shared.id)["members"][1]["instance"] == there.url, "bob knows the new address")
    both_ways(shared, "alice2", there, town.bob, "recipient")
