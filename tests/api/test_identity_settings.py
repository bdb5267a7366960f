"""Settings, pictures and the small public routes (spec/03 §14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser_forms import Browser, fields, hashed
from tests.servers import Person, RunningServer

from inglenook.identity import tokens, translations
from inglenook.identity.letters import LETTERS

SCOPE = "io.cozy.settings"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose mails wait: nobody listens on the port of its mail server."""
    running = RunningServer(tmp_path_factory.mktemp("data"), smtp_url="smtp://127.0.0.1:1").start()
    yield running
    running.stop()


def cli(person: Person, scope: str = SCOPE) -> str:
    return tokens.issue(person.instance, tokens.CLI, "CLI", scope=scope)


def read(person: Person, **more: Any) -> dict[str, Any]:
    answer = person.get("/settings/instance", SCOPE, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def write(person: Person, data: dict[str, Any], token: str | None = None, **changes: Any) -> Any:
    body = {"data": {**data, "attributes": {**data["attributes"], **changes}}}
    return person.put("/settings/instance", SCOPE, token=token, json_body=body)


def test_the_settings_have_the_shape_of_the_wire(alice: Person) -> None:
    data = read(alice)
    assert (data["type"], data["id"], data["links"]) == (SCOPE, f"{SCOPE}.instance", {"self": "/settings/instance"})
    assert data["attributes"] == {
        "auth_mode": "basic", "auto_update": True, "context": "", "default_redirection": "home/",
        "email": "alice@example.com", "locale": "en", "oidc_id": "", "onboarding_finished": True, "org_domain": "",
        "org_id": "", "password_defined": True, "public_name": "Alice", "tos": "", "tos_latest": "", "uuid": "",
    }  # fmt: skip
    assert alice.get("/settings/instance").status_code == 401
    assert alice.get("/settings/instance", "io.cozy.files").status_code == 200, "any token reads them"


def test_the_holder_of_a_link_is_told_whose_place_it_is_and_nothing_private(server: RunningServer) -> None:
    bob2 = server.add("bob2", passphrase="cozy", settings={"color": "red"}, phone="+33", uuid="u-1")
    rules = {"x": {"type": "io.cozy.tests", "verbs": ["GET"], "values": ["1"]}}
    body = {"data": {"attributes": {"permissions": rules}}}
    made = bob2.post("/permissions?codes=code", "io.cozy.tests", json_body=body).json()["data"]["attributes"]
    for code in (made["codes"]["code"], made["shortcodes"]["code"]):
        shown = bob2.get("/settings/instance", token=code).json()["data"]["attributes"]
        assert (shown["public_name"], shown["locale"], shown["default_redirection"]) == ("Bob2", "en", "home/")
        assert not {"email", "pending_email", "phone", "recovery_email", "uuid", "oidc_id", "color"} & shown.keys()
    assert read(bob2)["attributes"]["email"] == "bob2@example.com", "the owner's own clients are told everything"


def test_terms_that_wait_too_long_for_a_signature_close_the_api(server: RunningServer) -> None:
    alice2 = server.add("alice2", passphrase="cozy", tos="1.0.0-20200101", tos_latest="2.0.0-20200301")
    refused = alice2.get("/data/io.cozy.tests/_all_docs", "io.cozy.tests")
    assert refused.status_code == 402
    assert [(one["status"], one["code"]) for one in refused.json()] == [("402", "tos-updated")]
    assert alice2.get("/files/io.cozy.files.root-dir", "io.cozy.files").status_code == 402
    assert alice2.get("/auth/login").status_code == 200, "one can log in"
    assert alice2.get("/settings/warnings", SCOPE).status_code == 402
    assert alice2.put("/settings/instance/sign_tos", SCOPE).status_code == 204
    assert alice2.get("/files/io.cozy.files.root-dir", "io.cozy.files").status_code == 200
    assert alice2.get("/settings/warnings", SCOPE).status_code == 404


@pytest.mark.parametrize("latest", ["2.0.0", "2.0.0-29990101", "2.0.0-nodate"])
def test_terms_without_a_past_date_are_only_told(server: RunningServer, latest: str) -> None:
    name = "carol3" + "".join(letter for letter in latest if letter.isalnum())
    carol3 = server.add(name, passphrase="cozy", tos="1.0.0-20200101", tos_latest=latest)
    assert carol3.get("/files/io.cozy.files.root-dir", "io.cozy.files").status_code == 200
    assert carol3.get("/settings/warnings", SCOPE).status_code == 402


def test_settings_are_replaced_and_what_belongs_to_the_instance_is_lifted(server: RunningServer) -> None:
    bob3 = server.add("bob3", timezone="Europe/Paris", settings={"color": "red"})
    data = read(bob3)
    assert data["attributes"]["tz"] == "Europe/Paris"
    answer = write(bob3, data, locale="fr", public_name="Bob3 R.", email="thief@example.com", uuid="stolen",
                   auth_mode="two_factor_mail", onboarding_finished=True, color=None, mine={"a": [1]})  # fmt: skip
    assert answer.status_code == 200
    got = answer.json()["data"]["attributes"]
    assert (got["locale"], got["public_name"], got["mine"]) == ("fr", "Bob3 R.", {"a": [1]})
    assert (got["email"], got["uuid"], got["auth_mode"]) == ("bob3@example.com", "", "basic")
    assert bob3.instance.locale == "fr"
    assert bob3.instance.doc.onboarding_finished is False
    assert write(bob3, data, public_name="late").status_code == 409, "an old revision changes nothing"
    again = read(bob3)
    assert write(bob3, again).json()["data"]["meta"] == again["meta"], "nothing changed, nothing written"
    assert bob3.put("/settings/instance", "io.cozy.settings:GET", json_body={"data": again}).status_code == 403
    assert bob3.put("/settings/instance", SCOPE, content=b"{").status_code == 400


def test_the_operator_may_set_more(server: RunningServer) -> None:
    alice3 = server.add("alice3")
    answer = write(
        alice3, read(alice3), cli(alice3), uuid="u1", tos="20260101", email="new@example.com", context="beta"
    )
    got = answer.json()["data"]["attributes"]
    assert (got["uuid"], got["tos"], got["email"], got["context"]) == (
        "u1", "1.0.0-20260101", "new@example.com", "beta",
    )  # fmt: skip
    assert write(alice3, read(alice3), cli(alice3), locale=3).status_code == 400
    assert write(alice3, read(alice3), cli(alice3), auth_mode="magic").status_code == 400


def test_small_settings_routes_answer_any_token(alice: Person, server: RunningServer) -> None:
    capabilities = alice.get("/settings/capabilities", "io.cozy.tests").json()["data"]
    assert capabilities["attributes"] == {
        "file_versioning": True, "flat_subdomains": False, "can_auth_with_password": True,
        "can_auth_with_magic_links": False, "can_auth_with_oidc": False,
    }  # fmt: skip
    context = alice.get("/settings/context", "io.cozy.tests").json()["data"]
    assert context["attributes"]["antivirus"]["enabled"] is False
    assert alice.get("/settings/flags", "io.cozy.tests").json()["data"]["attributes"] == {}
    warnings = alice.get("/settings/warnings", "io.cozy.tests")
    assert (warnings.status_code, warnings.json()) == (404, {"errors": []})
    for path, status in (("context", 403), ("flags", 403), ("capabilities", 401), ("warnings", 401)):
        assert alice.get(f"/settings/{path}").status_code == status
    tess = server.add(
        "tess", feature_flags={"a": True, "b": {"c": 1}}, tos="1.0.0-20250101", tos_latest="1.0.0-20260101"
    )
    assert tess.get("/settings/flags", "io.cozy.tests").json()["data"]["attributes"] == {"a": True, "b": {"c": 1}}
    assert tess.get("/settings/warnings", "io.cozy.tests").json()["errors"][0]["code"] == "tos-updated"
    assert tess.put("/settings/instance/sign_tos", "io.cozy.tests").status_code == 204
    assert tess.get("/settings/warnings", "io.cozy.tests").status_code == 404


def test_sessions_are_listed_for_who_may_see_them(alice: Person) -> None:
    browser = Browser(alice)
    browser.login()
    mine = browser.get("/settings/sessions/current").json()["data"]
    assert set(mine["attributes"]) == {"_id", "_rev", "created_at", "last_seen", "long_run", "short_run"}
    listed = alice.get("/settings/sessions", "io.cozy.sessions:GET").json()["data"]
    assert mine["id"] in [one["id"] for one in listed]
    assert alice.get("/settings/sessions", "io.cozy.files").status_code == 403
    assert alice.get("/settings/sessions/current").status_code == 404


def test_another_mail_address_is_confirmed_from_its_mailbox(server: RunningServer) -> None:
    carol4 = server.add("carol4", passphrase="cozy")
    right = hashed("cozy", carol4.domain)
    refused: list[dict[str, str]] = [
        {"email": "new@example.com"},
        {"passphrase": "x", "email": "new@example.com"},
        {"passphrase": right, "email": "two@example.com, three@example.com"},
        {"passphrase": right},
    ]
    for bad in refused:
        assert carol4.post("/settings/email", SCOPE, json_body=bad).status_code == 400
    body = {"passphrase": right, "email": "new@example.com"}
    assert carol4.post("/settings/email", SCOPE, json_body=body).status_code == 204
    assert read(carol4)["attributes"]["pending_email"] == "new@example.com"
    records = server.do(lambda _: carol4.instance.store.read(lambda view: view.records(LETTERS)))
    letter = next(one.body for one in records if one.body["template_name"] == "update_email")
    assert letter["mode"] == "pending"
    link = letter["template_values"]["EmailUpdateLink"]
    browser = Browser(carol4)
    assert browser.get(link).status_code == 303, "the link alone is not enough"
    browser.login()
    confirmed = browser.get(link)
    assert confirmed.status_code == 307
    assert read(carol4)["attributes"]["email"] == "new@example.com"
    assert "pending_email" not in read(carol4)["attributes"]
    assert browser.get(link).status_code == 400, "a link works once"


def test_the_picture_is_kept_shown_and_removed(alice: Person) -> None:
    assert alice.get("/public/avatar").headers["content-type"].startswith("image/svg+xml")
    assert alice.get("/public/avatar?fallback=404").status_code == 404
    for bad in ("fallback=x", "as=x", "fx=x", "format=x"):
        assert alice.get(f"/public/avatar?{bad}").status_code == 400
    image = {"Content-Type": "image/png"}
    assert alice.put("/settings/avatar", "io.cozy.files", content=PNG, headers=image).status_code == 403
    assert alice.put("/settings/avatar", SCOPE, content=PNG, headers={"Content-Type": "text/html"}).status_code == 422
    assert alice.put("/settings/avatar", SCOPE, content=PNG, headers=image).status_code == 204
    shown = alice.get("/public/avatar?fallback=404")
    assert (shown.status_code, shown.headers["content-type"], shown.content) == (200, "image/png", PNG)
    known = alice.get("/public/avatar", headers={"If-None-Match": shown.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert alice.delete("/settings/avatar", SCOPE).status_code == 204
    assert alice.get("/public/avatar?fallback=404").status_code == 404


def test_a_picture_tells_its_type_when_the_client_does_not(alice: Person) -> None:
    jpeg = b"\xff\xd8\xff\xe0" + bytes(70_000)
    assert alice.put("/settings/avatar", SCOPE, content=jpeg).status_code == 204
    assert alice.get("/public/avatar").headers["content-type"] == "image/jpeg"
    for words in (b"no picture", b""):
        assert alice.put("/settings/avatar", SCOPE, content=words).status_code == 422
    large = alice.put("/settings/avatar", SCOPE, content=bytes(20_000_001), headers={"Content-Type": "image/png"})
    assert large.status_code == 413
    assert "20000000" in large.json()["errors"][0]["detail"]
    assert alice.get("/public/avatar").content == jpeg, "what is refused changes nothing"
    assert alice.delete("/settings/avatar", SCOPE).status_code == 204


def test_a_picture_too_large_is_refused(alice: Person) -> None:
    image = {"Content-Type": "image/png"}
    assert alice.put("/settings/avatar", SCOPE, content=b"x" * 20_000_001, headers=image).status_code == 413
    assert alice.get("/public/avatar?fallback=404").status_code == 404


@pytest.mark.parametrize("name", ["Ann <script>", "", "東 京", "a & b"])
def test_initials_are_a_picture_whatever_the_name(server: RunningServer, name: str) -> None:
    from xml.etree import ElementTree

    from inglenook.identity.public_routes import initials_picture

    root = ElementTree.fromstring(initials_picture(name))
    assert root.tag.endswith("svg")


def test_static_files_are_cached_by_their_content(alice: Person) -> None:
    page = alice.get("/auth/login").text
    path = re.findall(r'href="(/assets/pages[^"]+\.css)"', page)[0]
    fixed, plain = alice.get(path), alice.get("/assets/pages.css")
    assert fixed.content == plain.content
    assert "immutable" in fixed.headers["cache-control"]
    assert "immutable" not in plain.headers["cache-control"]
    again = alice.get("/assets/pages.css", headers={"If-None-Match": plain.headers["etag"]})
    assert again.status_code == 304
    for name in ("none.css", "..%2Fpages.py", "pages.0000000000.css"):
        assert alice.get(f"/assets/{name}").status_code in (200, 404)
        if name != "pages.0000000000.css":
            assert alice.get(f"/assets/{name}").status_code == 404


def test_robots_and_connection_checks(alice: Person) -> None:
    assert alice.get("/robots.txt").text == "User-agent: *\nDisallow: /\n"
    assert alice.get("/connection_check").status_code == 204
    moved = alice.get("/.well-known/change-password", follow_redirects=False)
    assert moved.headers["location"] == f"http://settings.{alice.domain}/#/profile/password"


def test_every_text_exists_in_both_languages() -> None:
    assert translations.keys("en") == translations.keys("fr")


def test_pages_speak_the_language_of_the_instance(server: RunningServer) -> None:
    bob4 = server.add("bob4", passphrase="cozy", locale="fr")
    page = Browser(bob4).get("/auth/login").text
    assert '<html lang="fr">' in page
    assert "Se connecter" in page
    assert "Le mot de passe saisi est incorrect" in Browser(bob4).login("x").text


def test_flags_of_a_context_can_be_for_a_part_of_the_instances(tmp_path: Path) -> None:
    rollout = [{"ratio": 0.5, "value": "new"}, {"ratio": 0.25, "value": "odd"}]
    features = {"plain": True, "list": ["a"], "rollout": rollout, "never": [{"ratio": 0, "value": 1}]}
    contexts = {"default": {"features": features, "antivirus": {"enabled": True, "address": "clamav:3310"}}}
    server = RunningServer(tmp_path, contexts=contexts).start()
    try:
        values = set()
        for number in range(12):
            person = server.add(f"a{number}")
            flags = person.get("/settings/flags", "io.cozy.tests").json()["data"]["attributes"]
            assert (flags["plain"], flags["list"]) == (True, ["a"])
            assert "never" not in flags
            values.add(flags.get("rollout"))
            assert person.get("/settings/flags", "io.cozy.tests").json()["data"]["attributes"] == flags
        assert {"new"} < values <= {"new", "odd", None}
        shown = person.get("/settings/context", "io.cozy.tests").json()["data"]["attributes"]
        assert shown["antivirus"] == {"enabled": True, "notifications": {"email_on_infected": False}}
    finally:
        server.stop()


def test_static_files_are_found_in_the_folders_that_apps_name(alice: Person) -> None:
    for path in ("/assets/fonts/fonts.css", "/assets/styles/theme.css", "/assets/theme.css"):
        answer = alice.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert alice.get("/assets/elsewhere/theme.css").status_code == 404


def test_a_cookie_that_ends_is_empty(alice: Person) -> None:
    browser = Browser(alice)
    browser.login()
    token = fields(browser.get("/auth/passphrase_reset").text)["csrf_token"]
    answer = browser.post("/auth/passphrase_reset", data={"csrf_token": token})
    lines = answer.headers.get_list("set-cookie")
    assert any(line.startswith("cozysessid=; Path=/; Domain=alice.localhost; Max-Age=0") for line in lines), lines
    assert any(line.endswith("; Path=/auth; Max-Age=3600; HttpOnly; SameSite=Strict") for line in lines), lines
