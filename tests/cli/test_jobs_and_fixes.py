"""`inglenook jobs …`, `fix …` and `files exec …`, with the server running and stopped (spec/03 §16, spec/10 §3)."""

from __future__ import annotations

import json

import pytest
from tests.servers import free_port

from .conftest import Operator, wait_for


@pytest.fixture
def alice(either: Operator) -> str:
    """Alice's domain; she is the person meant."""
    domain = either.domain("alice")
    either.ask("instances", "add", domain, "--passphrase", "cozy", "--email", "alice@example.com")
    either.environ["COZY_DOMAIN"] = domain
    return domain


def test_a_job_is_done_and_shown(either: Operator, alice: str) -> None:
    either.ask("files", "put", "-", "/a.txt", stdin=b"a")
    files = {
        item["name"]: item["_id"] for item in map(json.loads, either.ask("files", "ls", "/", "--json").splitlines())
    }
    message = {"files": {"inside/a.txt": files["a.txt"]}, "dir_id": "io.cozy.files.root-dir", "filename": "all.zip"}
    job = json.loads(either.ask("jobs", "run", "zip", "--domain", alice, "--json", json.dumps(message)))
    assert (job["worker"], job["state"], job["message"]) == ("zip", "done", message)
    assert "all.zip" in either.ask("files", "ls", "/")
    assert json.loads(either.ask("jobs", "run", "clean-old-trashed"))["state"] == "done"


def test_a_job_that_cannot_be_done_is_told(either: Operator, alice: str) -> None:
    done = either.run("jobs", "run", "zip", "--json", "{}")
    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "errored"
    assert "There is no worker dance" in either.refused("jobs", "run", "dance")
    assert "not started by hand" in either.refused("jobs", "run", "share-replicate")
    assert "does not exist on this server" in either.refused("jobs", "run", "konnector")
    assert "unknown mode" in either.refused("jobs", "run", "sendmail", "--json", '{"mode": "loud"}')
    either.refused("jobs", "run", "zip", "--json", "[]", code=2)
    either.refused("jobs", "run", code=2)
    either.refused("jobs", "run", "zip", "--domain", "nobody.localhost")


def test_exports_and_mails_are_queued_and_done_by_the_server(running: Operator) -> None:
    alice = running.domain("alice")
    running.ask("instances", "add", alice, "--passphrase", "cozy", "--email", "alice@example.com")
    letter = {"mode": "noreply", "subject": "Good morning", "parts": [{"type": "text/plain", "body": "Hello"}]}
    for words in (("export",), ("sendmail", "--json", json.dumps(letter))):
        assert json.loads(running.ask("jobs", "run", *words, "--domain", alice))["state"] == "queued"
    wait_for(lambda: "Good morning" in running.ask("mails", "--domain", alice), "the mail")
    wait_for(lambda: "#/exports/" in running.ask("mails", "--domain", alice), "the link of the export")
    wait_for(lambda: running.ask("jobs", "ls", "--domain", alice) == "", "nothing waits")


def test_what_waits_is_listed_and_tried_again(operator: Operator) -> None:
    operator.environ["INGLENOOK_SMTP_URL"] = f"smtp://127.0.0.1:{free_port()}"
    alice = operator.domain("alice")
    operator.ask("instances", "add", alice, "--passphrase", "cozy", "--email", "alice@example.com")
    letter = {"mode": "noreply", "subject": "Late", "parts": [{"type": "text/plain", "body": "secret words"}]}
    sent = json.loads(operator.ask("jobs", "run", "sendmail", "--domain", alice, "--json", json.dumps(letter)))
    listed = json.loads(operator.ask("jobs", "ls", "--json"))
    assert (listed["id"], listed["domain"], listed["attempts"]) == (sent["_id"], alice, 0)
    operator.serve()

    def attempts() -> int:
        return json.loads(operator.ask("jobs", "ls", "--json"))["attempts"]

    wait_for(lambda: attempts() > 0, "it was tried")
    before = attempts()
    operator.ask("jobs", "retry", sent["_id"])
    wait_for(lambda: attempts() > before, "it was tried again")
    assert "secret words" not in operator.ask("jobs", "ls", "--json")
    assert "cannot be reached" in operator.ask("jobs", "ls")
    operator.ask("jobs", "retry", "--domain", alice)
    assert "Nothing that waits" in operator.refused("jobs", "retry", "nothing")


def test_everything_that_the_reference_mends_can_be_asked_for(either: Operator, alice: str) -> None:
    mended = ("mime", "thumbnails", "password-defined", "sharings-moved")
    for name in (*mended, "jobs", "orphan-account", "service-triggers", "indexes"):
        assert either.ask("fix", name, alice) != ""
        either.refused("fix", name, "nobody.localhost")
    assert "Nothing to mend" in either.ask("fix", "redis", "--force")


def test_mail_addresses_of_contacts_are_put_right(either: Operator, alice: str) -> None:
    written = ["bob@example.com", " carol@example.com\n", "mailto:bob@example.com", "Bob <bob@example.com>", "none"]
    body = {"fullname": "Bob", "email": [{"address": address, "type": "home"} for address in written]}
    either.ask("documents", "put", "io.cozy.contacts", "bob", json.dumps(body))
    assert either.ask("fix", "contact-emails", "--domain", alice) == "1 contact was mended"
    mended = json.loads(either.ask("documents", "get", "io.cozy.contacts", "bob"))["email"]
    right = ["bob@example.com", "carol@example.com", "bob@example.com", "bob@example.com", "none"]
    assert mended == [{"address": address, "type": "home"} for address in right]
    assert either.ask("fix", "contact-emails") == "0 contacts were mended"


def test_files_are_looked_at_and_moved_by_small_commands(either: Operator, alice: str) -> None:
    either.ask("files", "exec", "mkdir -p /one/two", "--domain", alice)
    either.ask("files", "put", "-", "/one/a.txt", stdin=b"content")
    assert either.ask("files", "exec", "ls /one").splitlines() == ["a.txt", "two"]
    long = either.ask("files", "exec", "ls -l /one").splitlines()
    assert [line.split()[0] for line in long] == ["-", "d"]
    assert long[0].split()[1] == "7"
    either.ask("files", "exec", "mv /one/a.txt /one/two")
    either.ask("files", "exec", "mv /one/two/a.txt '/one/b c.txt'")
    assert json.loads(either.ask("files", "exec", "attrs '/one/b c.txt'"))["name"] == "b c.txt"
    assert "  b c.txt" in either.ask("files", "exec", "tree /one").splitlines()
    assert "rm -r" in either.refused("files", "exec", "rm /one")
    either.ask("files", "exec", "rm -r /one")
    assert "one" in either.ask("files", "exec", "ls /.cozy_trash")
    assert "mkdir -p" in either.refused("files", "exec", "mkdir /far/away")
    assert "There is no /nowhere" in either.refused("files", "exec", "attrs /nowhere")
    either.refused("files", "exec", "dance", code=2)
    either.refused("files", "exec", "mv /one", code=2)
    either.refused("files", "exec", "ls 'open", code=2)
