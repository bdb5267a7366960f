"""`inglenook instances …`, with the server running and stopped (spec/03 §16, spec/10 §3)."""

from __future__ import annotations

import json
import re

import httpx

from .conftest import Operator


def test_an_instance_is_made_shown_changed_and_destroyed(either: Operator) -> None:
    alice = either.domain("alice")
    done = either.run(
        "instances", "add", alice, "--email", "alice@example.com", "--public-name=Alice", "--passphrase", "cozy",
        "--locale", "fr", "--tz", "Europe/Paris", "--disk-quota", "10GB", "--settings", "context:test,colour:blue",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == f"Instance created with success for domain {alice}\n"
    assert f'Creating instance for domain "{alice}": please wait...' in done.stderr.decode()

    shown = json.loads(either.ask("instances", "show", alice))
    assert set(shown) == {"id", "meta", "attributes"}
    attributes = shown["attributes"]
    assert (attributes["domain"], attributes["locale"], attributes["context"]) == (alice, "fr", "test")
    assert attributes["disk_quota"] == "10000000000"
    assert attributes["onboarding_finished"] is True
    assert not any("secret" in name or "hash" in name or "token" in name for name in attributes)

    assert re.fullmatch(
        rf"{re.escape(alice)}  +fr  +10 GB  +onboarded  +v\d+  +cozy[0-9a-f]{{32}}  +cozy[0-9a-f]{{32}}",
        either.ask("instances", "ls"),
    )
    assert json.loads(either.ask("instances", "ls", "--json"))["domain"] == alice
    assert either.ask("instances", "ls", "--fields", "domain,locale") == f"{alice}  fr"
    assert either.ask("instances", "ls", "--available-fields").splitlines()[-1] == "db_prefix"
    assert either.ask("instances", "count") == "1 instance"
    assert either.ask("instances", "show-db-prefix", alice) == attributes["prefix"]
    assert json.loads(either.ask("instances", "show-db-prefix", alice, "--json")) == {"prefix": attributes["prefix"]}
    assert json.loads(either.ask("instances", "move", alice, "--json")) == {"domain": alice, "state": "none"}

    changed = json.loads(either.ask("instances", "modify", "--blocked", alice, "--locale=en"))
    assert (changed["attributes"]["blocked"], changed["attributes"]["locale"]) == (True, "en")
    changed = json.loads(either.ask("instances", "modify", alice, "--blocked=false"))
    assert "blocked" not in changed["attributes"]
    assert changed["attributes"]["disk_quota"] == "10000000000", "what was not named stays"
    either.ask("instances", "set-disk-quota", alice, "-1")
    assert "disk_quota" not in json.loads(either.ask("instances", "show", alice))["attributes"]

    refusal = either.run("instances", "rm", alice, stdin=b"no\n")
    assert (refusal.returncode, either.ask("instances", "count")) == (1, "1 instance")
    assert "destroyed with success" in either.ask("instances", "rm", alice, "--force")
    assert either.ask("instances", "count") == "0 instances"
    assert either.ask("instances", "ls") == ""


def test_without_a_passphrase_the_link_to_choose_one_is_printed(running: Operator) -> None:
    alice = running.domain("alice")
    out = running.ask("instances", "add", alice, "--email", "alice@example.com")
    token = re.search(r'^Registration token: "([0-9a-f]{32})"$', out, re.MULTILINE)
    assert token
    link = f"http://{alice}/?registerToken={token[1]}"
    assert f"Define your password by visiting {link}" in out
    answer = httpx.get(f"{running.origin}/?registerToken={token[1]}", headers={"Host": alice}, trust_env=False)
    assert answer.status_code == 303
    assert answer.headers["location"].endswith(f"/auth/passphrase?registerToken={token[1]}")


def test_what_cannot_be_is_refused_in_one_line_and_changes_nothing(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy")
    before = either.ask("instances", "show", alice)
    assert "already exists" in either.refused("instances", "add", alice, "--locale", "fr")
    assert either.ask("instances", "show", alice) == before
    either.refused("instances", "add", "two words")
    assert "not found" in either.refused("instances", "show", "nobody.localhost")
    either.refused("instances", "auth-mode", alice, "telepathy")
    assert either.ask("instances", "count") == "1 instance"


WRONG = (
    ("instances", "add"),
    ("instances", "add", "alice.localhost", "--colour", "blue"),
    ("instances", "add", "alice.localhost", "bob.localhost"),
    ("instances", "dance"),
    ("dance",),
    ("instances", "add", "alice.localhost", "--disk-quota", "much"),
    ("instances", "modify", "alice.localhost", "--blocked=perhaps"),
)


def test_wrong_usage_is_told_apart_from_failure(either: Operator) -> None:
    for words in WRONG:
        either.refused(*words, code=2)
    assert either.ask("instances", "count") == "0 instances"


def test_tokens_open_the_api(running: Operator) -> None:
    alice = running.domain("alice")
    running.ask("instances", "add", alice, "--passphrase", "cozy")
    client = running.ask("instances", "client-oauth", alice, "http://localhost", "tests", "github.com/example/tests")
    assert re.fullmatch(r"[0-9a-f]{32}", client)
    whole = json.loads(
        running.ask(
            "instances", "client-oauth", alice, "http://localhost", "tests", "github.com/example/other", "--json"
        )
    )
    assert {"client_id", "client_secret", "registration_access_token"} <= set(whole)
    assert (
        json.loads(running.ask("instances", "find-oauth-client", alice, "github.com/example/tests"))["client_id"]
        == client
    )

    def reads_contacts(token: str) -> int:
        headers = {"Host": alice, "Authorization": f"Bearer {token}"}
        return httpx.get(
            f"{running.origin}/data/io.cozy.contacts/_all_docs", headers=headers, trust_env=False
        ).status_code

    for words in (("io.cozy.files io.cozy.contacts",), ("io.cozy.files", "io.cozy.contacts:GET")):
        assert reads_contacts(running.ask("instances", "token-oauth", alice, client, *words)) == 200
        assert reads_contacts(running.ask("instances", "token-cli", alice, *words)) == 200
    assert reads_contacts(running.ask("instances", "token-oauth", alice, client, "io.cozy.files")) == 403
    assert reads_contacts(running.ask("instances", "refresh-token-oauth", alice, client, "io.cozy.contacts")) == 400
    assert len(running.ask("instances", "token-app", alice, "drive").split(".")) == 3
    running.refused("instances", "token-oauth", alice, "nobody", "io.cozy.files")
    running.refused("instances", "token-oauth", alice, client, code=2)


def test_an_expired_token_can_be_made(running: Operator) -> None:
    alice = running.domain("alice")
    running.ask("instances", "add", alice, "--passphrase", "cozy")
    client = running.ask("instances", "client-oauth", alice, "http://localhost", "tests", "github.com/example/tests")
    token = running.ask("instances", "token-oauth", alice, client, "io.cozy.contacts", "--expire", "1ms")
    headers = {"Host": alice, "Authorization": f"Bearer {token}", "Accept": "application/json"}
    answer = httpx.get(f"{running.origin}/files/io.cozy.files.root-dir", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()) == (400, {"error": "Expired token"})
    running.refused("instances", "token-oauth", alice, client, "io.cozy.contacts", "--expire", "soon", code=2)


def test_a_changed_passphrase_is_asked_for_when_it_is_not_given(running: Operator) -> None:
    alice = running.domain("alice")
    running.ask("instances", "add", alice, "--passphrase", "cozy")
    assert running.ask("instances", "set-passphrase", alice, "other") == (
        f"Passphrase has been changed for instance  {alice}"
    )
    running.ask("instances", "set-passphrase", alice, stdin=b"third\n")
    running.refused("instances", "set-passphrase", alice, "")
