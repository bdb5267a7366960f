"""`inglenook sharings …`: share, see, end (spec/10 §3, spec/11 §4)."""

from __future__ import annotations

import json

from .conftest import Operator, wait_for


def settled(operator: Operator) -> tuple[str, str]:
    """alice and bob on a server, and a folder of alice's with a file; gives their domains."""
    alice, bob = operator.domain("alice"), operator.domain("bob")
    for name, domain in (("Alice", alice), ("Bob", bob)):
        mail = f"{name.lower()}@example.com"
        operator.ask("instances", "add", domain, "--passphrase", "cozy", "--email", mail, "--public-name", name)
    (operator.folder / "Trip").mkdir()
    (operator.folder / "Trip" / "plan.txt").write_text("to the sea")
    operator.ask("files", "put", "Trip", "/", "--domain", alice)
    return alice, bob


def test_a_folder_is_shared_shown_and_revoked(running: Operator) -> None:
    alice, bob = settled(running)
    sharing = running.ask(
        "sharings", "create", "/Trip", f"http://{bob}", "--read-only", "carol@example.com", "--domain", alice
    )
    listed = json.loads(running.ask("sharings", "ls", "--domain", alice, "--json"))
    assert (listed["id"], listed["role"], listed["state"]) == (sharing, "owner", "active")
    assert listed["description"] == "Trip"
    shown = json.loads(running.ask("sharings", "show", sharing, "--domain", alice, "--json"))
    assert [member["status"] for member in shown["members"]] == ["owner", "pending", "pending"]
    assert [member["state"] for member in shown["members"][1:]] == ["waiting_for_acceptance"] * 2
    assert [member["read_only"] for member in shown["members"]] == [False, False, True]
    words = running.ask("sharings", "show", sharing, "--domain", alice)
    assert "bob was invited and has not answered yet." in words
    assert "may only read" in words
    at_bobs = json.loads(running.ask("sharings", "show", sharing, "--domain", bob, "--json"))
    assert (at_bobs["role"], at_bobs["members"][1]["summary"]) == ("recipient", "You have not answered Alice yet.")
    running.refused("sharings", "revoke", sharing, "--domain", alice, "--member", "9", "--force")
    assert running.run("sharings", "revoke", sharing, "--domain", alice).returncode == 1, "nobody says yes"
    running.ask("sharings", "revoke", sharing, "--domain", alice, "--member", "2", "--force")
    shown = json.loads(running.ask("sharings", "show", sharing, "--domain", alice, "--json"))
    assert (shown["state"], shown["members"][2]["state"]) == ("active", "revoked")
    running.ask("sharings", "revoke", sharing, "--domain", bob, "--force")

    def declined() -> bool:
        told = json.loads(running.ask("sharings", "show", sharing, "--domain", alice, "--json"))
        return told["members"][1]["summary"].startswith("bob has declined the invitation")

    wait_for(declined, "alice's server knows that bob has declined")
    ended = json.loads(running.ask("sharings", "revoke", sharing, "--domain", alice, "--force", "--json"))
    assert ended["state"] == "inactive"


def test_what_cannot_be_shared_is_said(running: Operator) -> None:
    alice, _ = settled(running)
    for words in (
        ("/Trip",),
        ("/Nowhere", "bob@example.com"),
        ("/", "bob@example.com"),
        ("/Trip", "nobody by this id"),
    ):
        running.refused("sharings", "create", *words, "--domain", alice)
    assert running.ask("sharings", "ls", "--domain", alice) == ""
    one = running.ask("sharings", "create", "/Trip/plan.txt", "bob@example.com", "--domain", alice, "--json")
    attributes = json.loads(one)["attributes"]
    assert attributes["rules"][0]["remove"] == "revoke"
    assert attributes["members"][1]["email"] == "bob@example.com"
