"""Mails, peers, sharings, doctor, init, completion, and `inglenook` alone (spec/10 §1, §3)."""

from __future__ import annotations

import json
import os
import pty

import httpx
import pytest

import inglenook

from .conftest import COMMAND, Operator, wait_for


def test_lists_are_empty_at_first(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy")
    assert either.ask("sharings", "ls", "--domain", alice) == ""
    assert either.ask("peers", "ls") == ""
    assert either.ask("mails") == ""
    either.refused("sharings", "show", "nothing", "--domain", alice)
    either.refused("peers", "retry", "nobody.example")


def test_mails_are_kept_and_shown_when_no_mail_server_is_configured(running: Operator) -> None:
    alice = running.domain("alice")
    running.ask("instances", "add", alice, "--passphrase", "cozy", "--email", "alice@example.com")
    with httpx.Client(base_url=running.origin, headers={"Host": alice}, trust_env=False) as browser:
        browser.get("/auth/passphrase_reset").raise_for_status()
        csrf = browser.cookies["_csrf"]
        form = browser.post("/auth/passphrase_reset", data={"csrf_token": csrf}, headers={"Cookie": f"_csrf={csrf}"})
        assert form.status_code == 200
    wait_for(lambda: running.ask("mails"), "the mail is kept")
    mail = json.loads(running.ask("mails", "--json"))
    assert (mail["domain"], "passphrase_renew" in mail["text"]) == (alice, True)
    assert "alice@example.com" in mail["to"]
    assert running.ask("mails", "--domain", "nobody.example") == ""


def test_settings_are_shown_and_set(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy", "--public-name", "Alice")
    shown = either.ask("settings", "--domain", alice, "colour:blue,tz:Europe/Paris")
    assert shown.splitlines() == ["- colour: blue", "- public_name: Alice", "- tz: Europe/Paris"]


def test_the_doctor_says_what_is_well_and_what_is_not(either: Operator) -> None:
    either.ask("instances", "add", either.domain("alice"), "--passphrase", "cozy")
    verdicts = {line["check"]: line["verdict"] for line in map(json.loads, either.ask("doctor", "--json").splitlines())}
    assert set(verdicts) == {"configuration", "data", "mail", "clock", "server", "names"}
    assert set(verdicts.values()) == {"ok"}
    either.ask("instances", "add", "nobody.invalid", "--passphrase", "cozy")
    done = either.run("doctor")
    assert done.returncode == 1
    assert "nobody.invalid" in done.stdout.decode()


def test_version_and_completion_need_no_data_folder(operator: Operator) -> None:
    assert operator.ask("version") == inglenook.__version__
    assert json.loads(operator.ask("version", "--json")) == {"version": inglenook.__version__}
    for shell in ("bash", "zsh", "fish"):
        assert "instances" in operator.ask("completion", shell)
    assert not operator.data.exists()


@pytest.mark.parametrize("words", [("--help",), ("instances", "--help"), ("instances", "add", "-h"), ("files",), ()])
def test_help_is_a_result(operator: Operator, words: tuple[str, ...]) -> None:
    assert "Usage: inglenook" in operator.ask(*words)
    assert not operator.data.exists()


def test_alone_on_a_terminal_it_greets_and_says_what_to_type_next(operator: Operator) -> None:
    assert "inglenook init" in on_a_terminal(operator)
    operator.ask("instances", "count")
    assert "inglenook serve" in on_a_terminal(operator)
    operator.serve()
    assert "A server is running here" in on_a_terminal(operator)


@pytest.mark.parametrize("named", [True, False])
def test_init_writes_a_configuration_and_the_first_instance(operator: Operator, named: bool) -> None:
    place = operator.folder / ".config" / "inglenook" / "config.toml"
    if named:
        place = operator.folder / "inglenook.toml"
        operator.environ["INGLENOOK_CONFIG"] = str(place)
    data = operator.folder / "elsewhere"
    operator.ask(
        "init", "--domain", "alice.example.org", "--email", "alice@example.org", "--public-name", "Alice",
        "--passphrase", "cozy", f"--data={data}", "--port", "9000",
    )  # fmt: skip
    written = place.read_text()
    assert f'data = "{data}"' in written
    assert "port = 9000" in written
    assert "alice.example.org" in operator.ask("instances", "ls", f"--data={data}")
    operator.refused("init", "--domain", "bob.example.org")


def test_init_asks_for_what_is_not_given(operator: Operator) -> None:
    answers = operator.ask("init", stdin=b"bob.example.org\nbob@example.org\nBob\n\n")
    assert "registerToken=" in answers
    operator.ask("init", "--force", "--domain", "")
    assert operator.ask("instances", "count") == "1 instance"


def on_a_terminal(operator: Operator) -> str:
    """What `inglenook` alone says to a person."""
    parent, child = pty.openpty()
    pid = os.fork()
    if pid == 0:
        os.login_tty(child)
        os.chdir(operator.folder)
        os.execve(COMMAND[0], COMMAND, operator.environment())
    os.close(child)
    said = b""
    try:
        while piece := os.read(parent, 4096):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(parent)
    assert os.waitpid(pid, 0)[1] == 0
    return said.decode()
