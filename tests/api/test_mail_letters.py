"""Letters in words: templates, languages, addresses, headers (spec/04 §6.3, spec/07 §4)."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as DEFAULT
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import inglenook
from inglenook.kernel.errors import BadRequest
from inglenook.mail import compose, templates
from inglenook.mail.compose import Address, Correspondent
from inglenook.mail.delivery import parse_server
from inglenook.mail.letter import Letter, parse
from inglenook.mail.templates import TEMPLATES, render

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LINK = "https://alice.example/sharings/s1/discovery?state=abc-_123&x=1"
INVITATION = {
    "SharerPublicName": "Alice",
    "SharerEmail": "alice@example.org",
    "Action": "view",
    "Description": "Photos of Brest",
    "TitleType": "a directory",
    "DocType": "the directory",
    "SharingLink": LINK,
}
ALICE = Correspondent(
    domain="alice.example:8443",
    origin="https://alice.example:8443",
    locale="en",
    public_name="Alice",
    email="alice@example.org",
    pending_email="new@example.org",
    noreply=Address("Inglenook", "noreply@alice.example"),
)


def sent(message: dict[str, Any], who: Correspondent = ALICE) -> EmailMessage:
    """The message as the receiver parses it."""
    [envelope] = compose.compose(parse(message), who, id="l1", now=NOW)
    return message_from_bytes(envelope.message.as_bytes(), policy=DEFAULT)  # type: ignore[return-value]


def bodies(message: EmailMessage) -> dict[str, str]:
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    return {part.get_content_type(): part.get_content() for part in parts}


@pytest.mark.parametrize("kind", ["import_success", "move_success"])
def test_an_import_that_lost_something_says_so(kind: str) -> None:
    values = {"CozyLink": LINK, "AppsNotInstalled": ""}
    for locale, word in (("en", "3 documents"), ("fr", "3 documents")):
        lossy = render(kind, {**values, "Remarks": 3}, locale=locale)
        assert word in lossy.text
        assert word in lossy.html
        assert word not in render(kind, {**values, "Remarks": 0}, locale=locale).text
    both = render(kind, {**values, "Remarks": 3, "AppsNotInstalled": "notes"}, locale="en").text
    assert both.index("notes") < both.index("3 documents")


def invitation(**more: Any) -> dict[str, Any]:
    to = [{"name": "Bob", "email": "bob@example.org"}]
    return {"mode": "from", "to": to, "template_name": "sharing_request", "template_values": INVITATION, **more}


# -- texts


def test_every_text_exists_in_both_languages_with_the_same_places() -> None:
    texts = {}
    for locale in ("en", "fr"):
        texts[locale] = json.loads(resources.files("inglenook.mail").joinpath("locales", f"{locale}.json").read_text())
    assert texts["en"].keys() == texts["fr"].keys()
    for key, text in texts["en"].items():
        assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", texts["fr"][key])), key
        assert text != texts["fr"][key] or key == "mail.support.subject", key


@pytest.mark.parametrize("locale", ["en", "fr"])
@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_template_can_be_written_with_and_without_its_values(name: str, locale: str) -> None:
    template = TEMPLATES[name]
    used = {*template.words, *template.quote, template.link, template.code, template.alternative} - {""}
    full = {value: LINK if value == template.link else f"«{value}»" for value in used}
    rendered = render(name, full, locale=locale, recipient="Bob", domain="alice.example")
    for value in used - {template.link, template.alternative}:
        if value not in ("TitleType", "DocType", "PublicName"):
            assert f"«{value}»" in rendered.subject + rendered.text
    if template.link:
        assert LINK in rendered.text
        assert LINK.replace("&", "&amp;") in rendered.html
    for text in (rendered.subject, rendered.text, rendered.html, render(name, {}, locale=locale).text):
        assert "mail." not in text
        assert not re.search(r"{\w+}", text)


def test_an_unknown_template_is_refused() -> None:
    with pytest.raises(BadRequest, match='Could not find email named "nope"'):
        render("nope", {}, locale="en")


def test_the_invitation_says_who_shares_what_and_carries_the_link_in_both_parts() -> None:
    message = sent(invitation())
    assert message["Subject"] == "Alice has shared a directory with you"
    assert message["From"] == "Alice <noreply@alice.example>"
    assert message["Reply-To"] == "Alice <alice@example.org>"
    assert message["To"] == "Bob <bob@example.org>"
    assert message["X-Cozy"] == "alice.example:8443"
    assert message["Message-ID"] == "<l1@alice.example>"
    assert message["Date"].datetime == NOW
    text, html = bodies(message)["text/plain"], bodies(message)["text/html"]
    assert message.get_content_type() == "multipart/alternative"
    assert re.findall(r'https?://[^\s"<>\)]+', text) == [LINK]
    assert set(re.findall(r'https?://[^\s"<>\)]+', html.replace("&amp;", "&"))) == {LINK}
    for words in ("Hello Bob", "Alice", "alice@example.org", "Photos of Brest", "the directory"):
        assert words in text
        assert words in html


def test_a_mail_is_written_in_the_language_of_the_sender_or_the_one_asked_for() -> None:
    assert "Bonjour Bob" in bodies(sent(invitation(locale="fr")))["text/plain"]
    french = compose.correspondent(
        domain="alice.example", origin="https://alice.example", locale="fr", settings={"public_name": "Zoé"}, context={}
    )
    message = sent(invitation(), french)
    assert message["Subject"] == "Alice a partagé a directory avec vous"
    assert message["From"] == "Zoé <noreply@alice.example>"
    assert "Hello Bob" in bodies(sent(invitation(locale="xx")))["text/plain"]


def test_values_cannot_break_out_of_the_html_or_the_headers() -> None:
    evil = '<script>alert("x")</script>\r\nBcc: bob2@example.org'
    values = {**INVITATION, "SharerPublicName": evil, "Description": evil, "TitleType": "{SharerEmail.__class__}"}
    message = sent(invitation(template_values=values, to=[{"name": evil, "email": "bob@example.org"}]))
    assert "Bcc" not in message
    assert "<script>" not in bodies(message)["text/html"]
    assert "{SharerEmail.__class__}" in message["Subject"]


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "data:text/html,x", "https://a b", "", None, 7, ["https://x.example"]]
)
def test_only_web_addresses_become_links(link: object) -> None:
    rendered = render("sharing_request", {**INVITATION, "SharingLink": link}, locale="en")
    assert "href" not in rendered.html
    assert "javascript" not in rendered.text


def test_html_parts_load_nothing_from_anywhere() -> None:
    html = render("sharing_request", INVITATION, locale="en").html
    assert not re.search(r"<(img|link|script|iframe)|url\(|@import", html)


def test_a_code_is_shown_but_not_in_the_subject() -> None:
    rendered = render("two_factor", {"TwoFactorPasscode": "123456"}, locale="en")
    assert "123456" in rendered.text
    assert "123456" in rendered.html
    assert "123456" not in rendered.subject


# -- modes and addresses


@pytest.mark.parametrize(
    ("mode", "to", "sender"),
    [
        ("noreply", "Alice <alice@example.org>", "Inglenook <noreply@alice.example>"),
        ("campaign", "Alice <alice@example.org>", "Inglenook <noreply@alice.example>"),
        ("pending", "Alice <new@example.org>", "Inglenook <noreply@alice.example>"),
        ("from", "Bob2 <bob2@example.org>", "Alice <noreply@alice.example>"),
    ],
)
def test_the_mode_decides_who_writes_to_whom(mode: str, to: str, sender: str) -> None:
    message = sent({"mode": mode, "to": [{"name": "Bob2", "email": "bob2@example.org"}], "subject": "Hi", "parts": []})
    assert (message["To"], message["From"]) == (to, sender)


def test_support_gets_the_request_and_the_user_a_receipt() -> None:
    who = compose.correspondent(
        domain="alice.example",
        origin="https://alice.example",
        locale="en",
        settings={"public_name": "Alice", "email": "alice@example.org"},
        context={"reply_to": "help@example.org", "noreply_address": "robot@example.org", "noreply_name": "Robot"},
    )
    letter = parse({"mode": "support", "subject": "Help", "template_name": "support_request",
                    "template_values": {"Body": "It is broken.\nReally."}})  # fmt: skip
    request, receipt = compose.compose(letter, who, id="l1", now=NOW)
    assert (request.recipients, receipt.recipients) == (("help@example.org",), ("alice@example.org",))
    assert request.message["Reply-To"] == "Alice <alice@example.org>"
    assert "It is broken." in request.message.get_content()
    assert receipt.message["From"] == "Robot <robot@example.org>"
    assert receipt.message["Reply-To"] == "help@example.org"
    assert "> Really." in receipt.message.get_body(("plain",)).get_content()
    with pytest.raises(BadRequest, match="support"):
        compose.compose(letter, ALICE, id="l1", now=NOW)


def test_an_instance_without_addresses_cannot_be_written_to() -> None:
    nobody = compose.correspondent(domain="x.example", origin="", locale="en", settings={}, context={})
    for mode, reason in (
        ("noreply", "has no email in its settings"),
        ("pending", "has no pending email in its settings"),
    ):
        with pytest.raises(BadRequest, match=reason):
            compose.compose(Letter(mode=mode, subject="x"), nobody, id="l", now=NOW)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"mode": "shout", "subject": "x"}, "Mail sent with unknown mode shout"),
        ({"mode": "noreply"}, "Missing mail subject"),
        ({"mode": "noreply", "subject": " "}, "Missing mail subject"),
        ({"mode": "from", "subject": "x"}, "Missing mail recipient"),
        ({"mode": "from", "subject": "x", "to": [{"name": "Bob"}]}, "Missing mail recipient"),
        ({"mode": "noreply", "subject": "x", "parts": [{"type": "text/css", "body": ""}]}, "Unknown body content-type"),
        ({"mode": "noreply", "subject": "x", "dialer": {"host": "10.0.0.1"}}, "mail server"),
        ({"mode": "noreply", "subject": 7}, "cannot be read"),
        ({"subject": "x"}, "cannot be read"),
        ([], "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused_with_its_reason(message: object, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        parse(message)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "bob",
        "@example.org",
        "bob@",
        "a@b@c d",
        "bob@example.org\r\nBcc: x@y.z",
        "<>",
        "a" * 400 + "@b.c",
        "(x)@y.z",
    ],
)
def test_what_is_no_mail_address_is_refused(email: str) -> None:
    letter = Letter(mode="from", to=[Address("Bob", email or " ")], subject="x")
    with pytest.raises(BadRequest):
        compose.compose(letter, ALICE, id="l", now=NOW)


def test_an_address_already_in_its_long_form_is_used_as_it_is() -> None:
    to = [{"name": "ignored", "email": "Bob Builder <bob@example.org>"}, {"name": "", "email": "carol@example.org"}]
    [envelope] = compose.compose(parse({"mode": "from", "to": to, "subject": "x"}), ALICE, id="l", now=NOW)
    assert envelope.message["To"] == "Bob Builder <bob@example.org>, carol@example.org"
    assert envelope.recipients == ("bob@example.org", "carol@example.org")


def test_parts_and_attachments_are_sent_as_given() -> None:
    parts = [{"type": "text/html", "body": "<p>é</p>"}, {"type": "text/plain", "body": "é"}]
    files = [{"filename": "a\nb.txt", "content": "aGVsbG8="}]
    message = sent({"mode": "noreply", "subject": "Two\nlines", "parts": parts, "attachments": files,
                    "date": "2020-05-06T07:08:09+02:00"})  # fmt: skip
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/html", "text/plain", "application/octet-stream",
    ]  # fmt: skip
    assert message["Subject"] == "Two lines"
    assert message["Date"].datetime.isoformat() == "2020-05-06T07:08:09+02:00"
    [attachment] = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("a b.txt", b"hello")
    with pytest.raises(BadRequest):
        sent({"mode": "noreply", "subject": "x", "attachments": [{"filename": "a", "content": "!"}]})
    with pytest.raises(BadRequest):
        sent({"mode": "noreply", "subject": "x", "date": "tomorrow"})


# -- the mail server's address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://127.0.0.1:2525", ("127.0.0.1", 2525, "none", "", "")),
        ("smtp://mail.example", ("mail.example", 25, "none", "", "")),
        ("smtp://a%40b:p%2Fw@mail.example:587?starttls=1", ("mail.example", 587, "starttls", "a@b", "p/w")),
        ("smtp://a:p@mail.example", ("mail.example", 587, "starttls", "a", "p")),
        ("smtp://a:p@mail.example?starttls=0", ("mail.example", 25, "none", "a", "p")),
        ("smtp://a:p@localhost:25", ("localhost", 25, "none", "a", "p")),
        ("smtps://a:p@mail.example", ("mail.example", 465, "tls", "a", "p")),
    ],
)
def test_the_address_of_a_mail_server_says_how_to_talk_to_it(url: str, expected: tuple[object, ...]) -> None:
    server = parse_server(url)
    assert (server.host, server.port, server.encryption, server.user, server.password) == expected
    assert "p/w" not in repr(server)


@pytest.mark.parametrize("url", ["mail.example", "http://mail.example", "smtp://", "smtp://host:port"])
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_server(url)


def test_values_of_strange_kinds_count_as_absent() -> None:
    assert [templates.text_of({"x": value}, "x") for value in (None, [], {}, False, 3, True, " a\x00b ")] == [
        "", "", "", "", "3", "x", "a b",
    ]  # fmt: skip


def test_every_template_that_the_server_asks_for_exists() -> None:
    """The names are only texts for those who write letters: nothing else would notice a wrong one."""
    asked: set[str] = set()
    for source in Path(inglenook.__file__).parent.rglob("*.py"):
        text = source.read_text("utf-8")
        asked.update(re.findall(r"letters\.post\(\s*tx,\s*\"(\w+)\"", text))
        asked.update(re.findall(r"(?:\btemplate=|^TEMPLATE = |MailedCode\(\w+, )\"(\w+)\"", text, re.MULTILINE))
    assert {"sharing_request", "sharing_access_request", "two_factor"} <= asked
    assert asked <= TEMPLATES.keys()
