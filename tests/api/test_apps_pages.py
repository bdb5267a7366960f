"""The hosts of web apps: who gets which page or file, and what a page is told (spec/03 §12.4-12.6, spec/04 §9.5)."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.api.apps_workshop import FILES, boot_data, install, visit, write_app
from tests.browser_forms import Browser, fields
from tests.servers import Person, RunningServer

from inglenook.identity import commands, one_time, permission_documents


@pytest.fixture(scope="module", autouse=True)
def app(alice: Person, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app, installed by alice."""
    folder = write_app(tmp_path_factory.mktemp("mini"))
    install(alice, folder)
    return folder


@pytest.fixture(scope="module")
def owner(alice: Person, app: Path) -> Browser:
    """Alice's browser, logged in."""
    browser = Browser(alice)
    assert browser.login().status_code == 303
    return browser


@pytest.fixture
def visitor(alice: Person) -> Browser:
    """The browser of somebody else."""
    return Browser(alice)


numbers = itertools.count()


def policy(answer: httpx.Response) -> dict[str, list[str]]:
    """The directives of a policy."""
    words = [part.split() for part in answer.headers["content-security-policy"].split(";") if part]
    return {name: sources for name, *sources in words}


def change(person: Person, **fields: Any) -> None:
    """Change the registry document of an instance."""
    instance = person.instance
    person.server.do(
        lambda runtime: runtime.instances.modify(instance, lambda doc: msgspec.structs.replace(doc, **fields))
    )


def share(person: Person, **attributes: Any) -> dict[str, Any]:
    """A link to a new file of a person; the first code and the attributes."""
    file = person.post(
        "/files/io.cozy.files.root-dir", "io.cozy.files", content=b"hello",
        params={"Type": "file", "Name": f"{next(numbers)}.txt"}, headers={"Content-Type": "text/plain"},
    ).json()["data"]  # fmt: skip
    rules = {"files": {"type": "io.cozy.files", "verbs": ["GET"], "values": [file["id"]]}}
    body = {"data": {"type": "io.cozy.permissions", "attributes": {"permissions": rules, **attributes}}}
    answer = person.post("/permissions?codes=code", "io.cozy.files", json_body=body)
    assert answer.status_code == 200, answer.text
    return {**answer.json()["data"]["attributes"], "id": answer.json()["data"]["id"], "file": file["id"]}


# -- pages


def test_a_private_page_sends_to_the_login_and_back(visitor: Browser, alice: Person) -> None:
    answer = visit(visitor, "/?x=1&jwt=abc")
    assert answer.status_code == 302
    location = httpx.URL(answer.headers["location"])
    assert str(location).startswith(f"{alice.url}/auth/login?")
    assert location.params["redirect"] == alice.instance.app_url("mini") + "?x=1&jwt=abc"
    assert location.params["jwt"] == "abc"
    assert "default-src" in answer.headers["content-security-policy"]


def test_the_page_of_the_owner_carries_a_token_of_the_app(owner: Browser, alice: Person) -> None:
    data = boot_data(visit(owner).text)
    assert data["isLoggedIn"] is True
    headers = {"Authorization": f"Bearer {data['token']}"}
    assert owner.get("/files/io.cozy.files.root-dir", headers=headers).status_code == 200
    assert owner.get("/settings/clients", headers=headers).status_code == 403
    assert alice.get("/files/io.cozy.files.root-dir", token=data["token"]).status_code == 400


def test_a_page_by_its_own_name_is_the_page_too(owner: Browser) -> None:
    assert boot_data(visit(owner, "/index.html").text)["token"]
    assert boot_data(visit(owner, "/public/index.html").text)["app"]["slug"] == "mini"


@pytest.mark.parametrize("path", ["/public", "/public/", "/public/?x=1", "/public//", "/x/../public/"])
def test_a_public_page_is_for_all(visitor: Browser, path: str) -> None:
    answer = visit(visitor, path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, no-store, must-revalidate"
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert boot_data(answer.text)["token"] == ""


def test_a_code_of_a_link_is_the_token_of_the_page(visitor: Browser, alice: Person, owner: Browser) -> None:
    made = share(alice)
    for browser in (visitor, owner):
        for code in (made["codes"]["code"], made["shortcodes"]["code"]):
            token = boot_data(visit(browser, f"/public/?sharecode={code}").text)["token"]
            assert token == code
            assert alice.get(f"/files/{made['file']}", token=token).status_code == 200
    assert visit(visitor, f"/?sharecode={made['codes']['code']}").status_code == 302


def test_the_password_of_a_link_comes_before_the_page(visitor: Browser, alice: Person) -> None:
    made = share(alice, password="hush")
    path = f"/public/?sharecode={made['shortcodes']['code']}."
    asks = visit(visitor, path)
    assert asks.status_code == 401
    assert f'action="{alice.url}/auth/share-by-link/password"' in asks.text
    given = visitor.post("/auth/share-by-link/password", data={"perm_id": made["id"], "password": "hush"})
    assert given.status_code == 200
    assert visit(visitor, path).status_code == 200


def test_without_scripts_the_password_of_a_link_leads_back_to_its_page(visitor: Browser, alice: Person) -> None:
    code = share(alice, password="hush")["shortcodes"]["code"]
    page = visit(visitor, f"/public/?sharecode={code}")
    form = fields(page.text)
    assert form["redirect"] == alice.instance.app_url("mini", f"/public/?sharecode={code}")
    as_page = {"Accept": "text/html"}
    wrong = visitor.post("/auth/share-by-link/password", data={**form, "password": "x"}, headers=as_page)
    assert wrong.status_code == 403
    assert "Invalid password" in wrong.text
    assert fields(wrong.text)["redirect"] == form["redirect"]
    right = visitor.post("/auth/share-by-link/password", data={**form, "password": "hush"}, headers=as_page)
    assert (right.status_code, right.headers["location"]) == (303, form["redirect"])
    assert visit(visitor, f"/public/?sharecode={code}").status_code == 200


def test_a_preview_code_becomes_the_long_one_and_then_that_of_the_member(visitor: Browser, alice: Person) -> None:
    scopes = ("io.cozy.sharings", "io.cozy.contacts", "io.cozy.tests")
    contact = {"email": [{"address": "bob@example.com", "primary": True}], "fullname": "Bob"}
    bob = alice.post("/data/io.cozy.contacts/", *scopes, json_body=contact).json()["data"]
    note = alice.post("/data/io.cozy.tests/", *scopes, json_body={"a": 1}).json()["data"]
    rule = {"title": "t", "doctype": "io.cozy.tests", "values": [note["_id"]], "add": "sync", "update": "sync",
            "remove": "sync"}  # fmt: skip
    body = {"data": {
        "type": "io.cozy.sharings",
        "attributes": {"description": "d", "rules": [rule], "open_sharing": True, "app_slug": "mini",
                       "preview_path": "/public"},
        "relationships": {"recipients": {"data": [{"type": "io.cozy.contacts", "id": bob["_id"]}]}},
    }}  # fmt: skip
    made = alice.post("/sharings/", *scopes, json_body=body)
    assert made.status_code == 201, made.text
    sharing_id = made.json()["data"]["id"]

    async def codes(_: object) -> tuple[dict[str, str], dict[str, str]]:
        found = await alice.instance.store.read(
            lambda view: permission_documents.of_source(view, "share-preview", f"io.cozy.sharings/{sharing_id}")
        )
        assert found is not None
        return found.body["codes"], found.body["shortcodes"]

    long, short = alice.server.do(codes)
    path = f"/public/?sharecode={short['bob@example.com']}"
    assert boot_data(visit(visitor, path).text)["token"] == long["bob@example.com"]

    async def give_address(_: object) -> None:
        def write(tx: Any) -> None:
            document = tx.get("io.cozy.sharings", sharing_id)
            members = document.body["members"]
            members[1]["instance"] = "http://bob.example.com"
            tx.put("io.cozy.sharings", sharing_id, {**document.body, "members": members}, rev=document.rev)

        await alice.instance.store.write(write)

    alice.server.do(give_address)
    token = boot_data(visit(visitor, path).text)["token"]
    assert token not in long.values()
    own = alice.get("/permissions/self", token=token).json()["data"]
    assert (own["id"], own["attributes"]["type"]) == (f"share-interact-{sharing_id}", "share-interact")


def test_a_session_code_logs_in_and_leaves_the_address(visitor: Browser, alice: Person) -> None:
    code = alice.server.do(
        lambda _: one_time.make_code(alice.instance, one_time.SESSION_CODE, one_time.SESSION_CODE_SECONDS)
    )
    answer = visit(visitor, f"/?session_code={code}&x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, alice.instance.app_url("mini"))
    assert visit(visitor).status_code == 200
    again = Browser(alice)
    assert visit(again, f"/?session_code={code}").status_code == 303
    assert visit(again).status_code == 302


def test_pages_follow_the_language_of_the_instance(server: RunningServer, app: Path) -> None:
    bob2 = server.add("bob2", passphrase="cozy", locale="fr")
    install(bob2, app)
    data = boot_data(visit(Browser(bob2), "/public/").text)
    assert (data["locale"], data["app"]["name"]) == ("fr", "Menu")


def test_terms_to_sign_are_told_in_the_head(server: RunningServer, app: Path) -> None:
    alice2 = server.add("alice2", passphrase="cozy")
    install(alice2, app)
    change(alice2, tos="1.0.0-20200101", tos_latest="1.0.0-20260101")
    browser = Browser(alice2)
    assert "user-action-required" not in visit(browser, "/public/").text
    browser.login()
    assert re.search(r'<meta name="user-action-required"[^>]*></head>', visit(browser).text)


def test_too_many_devices_have_to_be_dealt_with_first(server: RunningServer, app: Path) -> None:
    bob5 = server.add("bob5", passphrase="cozy")
    install(bob5, app)
    install(bob5, app, "settings")
    browser = Browser(bob5)
    browser.login()
    for name in ("phone", "tablet"):
        sent = {"redirect_uris": ["https://device.example/cb"], "client_name": name, "software_id": "x",
                "client_kind": "mobile"}  # fmt: skip
        json = {"Content-Type": "application/json", "Accept": "application/json"}
        client = bob5.post("/auth/register", content=msgspec.json.encode(sent), headers=json).json()
        bob5.server.do(lambda _, id=client["client_id"]: _settle(bob5, id))
    change(bob5, feature_flags={"cozy.oauthclients.max": 1})
    answer = visit(browser, "/?x=1")
    assert answer.status_code == 303
    assert httpx.URL(answer.headers["location"]).path == "/settings/clients/limit-exceeded"
    page = browser.get(answer.headers["location"])
    assert page.status_code == 200
    assert "Connected devices: 2. Allowed: 1." in page.text
    assert visit(browser, "/public/").status_code == 200
    assert visit(browser, "/", "settings").status_code == 200
    change(bob5, feature_flags={})
    back = browser.get(answer.headers["location"])
    assert (back.status_code, back.headers["location"]) == (303, bob5.instance.app_url("mini") + "?x=1")


async def _settle(person: Person, client_id: str) -> None:
    await commands.oauth_token(person.instance, client_id, ["io.cozy.files"])


# -- files


def test_a_file_is_sent_with_its_type_and_an_etag(visitor: Browser) -> None:
    answer = visit(visitor, "/assets/app.js", headers={"Accept-Encoding": "identity"})
    assert answer.text == FILES["assets/app.js"]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "cache-control" not in answer.headers
    again = visit(visitor, "/assets/app.js",
                  headers={"Accept-Encoding": "identity", "If-None-Match": answer.headers["etag"]})  # fmt: skip
    assert (again.status_code, again.content) == (304, b"")


def test_texts_travel_compressed(visitor: Browser) -> None:
    answer = visit(visitor, "/assets/app.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < len(FILES["assets/app.js"]) / 4
    assert answer.text == FILES["assets/app.js"]
    plain = visit(visitor, "/assets/app.js", headers={"Accept-Encoding": "identity"})
    assert plain.headers["etag"] != answer.headers["etag"]


def test_a_part_of_a_file_can_be_asked_for(visitor: Browser) -> None:
    answer = visit(visitor, "/public/doc.txt", headers={"Range": "bytes=4-6"})
    assert (answer.status_code, answer.text, answer.headers["content-range"]) == (206, "all", "bytes 4-6/8")
    assert visit(visitor, "/public/doc.txt", headers={"Range": "bytes=50-"}).status_code == 416


def test_a_name_with_a_fingerprint_is_kept_for_ever(visitor: Browser) -> None:
    answer = visit(visitor, "/assets/app.0123456789abcdef.js")
    assert answer.headers["cache-control"] == "max-age=31536000, immutable"


def test_private_files_need_a_session(visitor: Browser, owner: Browser) -> None:
    refused = visit(visitor, "/private.txt", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()) == (401, {"error": "You must be authenticated"})
    assert visit(owner, "/private.txt").text == FILES["private.txt"]


def test_what_is_not_there_is_said_in_the_form_that_is_read(visitor: Browser, owner: Browser) -> None:
    assert visit(visitor, "/public/none").text == "Asset not found"
    assert visit(owner, "/assets").status_code == 404
    page = visit(visitor, "/public/none", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert "Asset not found</p>" in page.text
    missing = visit(visitor, "/", "nothere", headers={"Accept": "application/json"})
    assert (missing.status_code, missing.json()) == (404, {"error": "Application is not installed"})


def test_a_fault_on_the_host_of_an_app_is_an_error_page(
    visitor: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr("inglenook.apps.matching.match", fail)
    page = visit(visitor, "/public/", headers={"Accept": "text/html"})
    assert page.status_code == 500
    assert page.headers["x-request-id"] in page.text
    assert "hunter2" not in page.text
    assert visit(visitor, "/public/", headers={"Accept": "application/json"}).json().keys() == {"error"}


def test_pages_of_errors_speak_the_language_of_the_instance(server: RunningServer, app: Path) -> None:
    carol3 = server.add("carol3", passphrase="cozy", locale="fr")
    install(carol3, app)
    browser = Browser(carol3)
    page = visit(browser, "/public/none", headers={"Accept": "text/html"})
    assert 'lang="fr"' in page.text
    assert "Fichier introuvable" in page.text
    assert visit(browser, "/public/none", headers={"Accept": "application/json"}).json() == {"error": "Asset not found"}
    nowhere = browser.get("/nowhere", headers={"Accept": "text/html"})
    assert "Il n&#39;y a rien ici" in nowhere.text


def test_the_page_of_an_unknown_host_has_its_style(server: RunningServer) -> None:
    nobody = {"Host": "nobody.localhost", "Accept": "text/html"}
    page = httpx.get(f"{server.origin}/", headers=nobody, trust_env=False)
    assert page.status_code == 404
    style = re.search(r'href="(/assets/pages\.[0-9a-f]+\.css)"', page.text)
    assert style
    assert httpx.get(f"{server.origin}{style[1]}", headers=nobody, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "path", ["/public/../private.txt", "/public/..%2fprivate.txt", "/public/%2e%2e/private.txt",
             "/assets/..%5cprivate.txt", "/public/..%252fprivate.txt",
             "/assets/..;/private.txt", "/assets/%2fetc%2fpasswd", "/public/%ff"]
)  # fmt: skip
def test_no_path_leads_out_of_what_is_public(visitor: Browser, path: str) -> None:
    answer = visit(visitor, path)
    assert answer.status_code in (400, 401, 404)
    assert FILES["private.txt"] not in answer.text


def test_the_policy_names_nobody_else(visitor: Browser, alice: Person) -> None:
    for path in ("/public/", "/assets/app.js", "/public/none", "/"):
        directives = policy(visit(visitor, path))
        own = ["'self'", alice.url, f"ws://{alice.domain}"]
        assert directives["default-src"] == own
        assert directives["script-src"] == ["'wasm-unsafe-eval'", *own]
        assert directives["frame-src"] == [f"http://*.{alice.domain}", "cozydrive:", "cozybanks:", *own]
        assert directives["frame-ancestors"] == directives["base-uri"] == ["'self'"]
        assert directives["form-action"] == [alice.url]


def test_only_reading_methods_exist(owner: Browser) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = visit(owner, "/public/", method=method)
        assert (answer.status_code, answer.text) == (405, f"Method {method} not allowed")
    assert visit(owner, "/public/", method="HEAD").content == b""


def test_robots_are_sent_away(visitor: Browser) -> None:
    assert "Disallow: /" in visit(visitor, "/robots.txt").text


def test_the_static_files_of_the_variables_exist(server: RunningServer, tmp_path: Path) -> None:
    bob3 = server.add("bob3", passphrase="cozy")
    names = ("CozyBar", "CozyClientJS", "CozyFonts", "ThemeCSS", "Favicon")
    head = "".join("{{." + name + "}}" for name in names)
    page = f"<html><head>{head}</head><body>{{{{.DefaultWallpaper}}}}</body></html>"
    install(bob3, write_app(tmp_path, files={**FILES, "public/index.html": page}))
    text = visit(Browser(bob3), "/public/").text
    urls = re.findall(rf"//{re.escape(bob3.domain)}(/assets/[^\s\"<]+)", text)
    assert len(urls) == 8
    for url in urls:
        answer = bob3.get(url)
        assert answer.status_code == 200, url
        assert "immutable" in answer.headers["cache-control"]


def test_a_page_that_is_no_template_is_sent_as_it_is(server: RunningServer, tmp_path: Path) -> None:
    alice3 = server.add("alice3", passphrase="cozy")
    raw = "<html><head></head><body>{{ what is this }} {{.Token}}</body></html>"
    odd = "<html><head></head><body>{{.NoSuchThing}}</body></html>"
    files = {**FILES, "public/index.html": raw, "index.html": odd}
    install(alice3, write_app(tmp_path, files=files))
    browser = Browser(alice3)
    assert visit(browser, "/public/").text == raw
    browser.login()
    broken = visit(browser, "/")
    assert broken.status_code == 500
    assert "NoSuchThing" in broken.text


# -- the state of the instance


def test_an_instance_without_passphrase_is_onboarded_first(server: RunningServer, app: Path) -> None:
    carol4 = server.add("carol4")
    install(carol4, app)
    answer = visit(Browser(carol4), "/public/")
    assert (answer.status_code, answer.headers["location"]) == (302, f"{carol4.url}/")


def test_public_pages_of_a_moved_instance_tell_where_they_are(server: RunningServer, app: Path) -> None:
    bob4 = server.add("bob4", passphrase="cozy")
    install(bob4, app)

    async def move(_: object) -> None:
        def write(tx: Any) -> None:
            settings = tx.get("io.cozy.settings", "io.cozy.settings.instance")
            body = {**settings.body, "moved_to": "https://bob4.example.org/"}
            tx.put("io.cozy.settings", settings.id, body, rev=settings.rev)

        await bob4.instance.store.write(write)

    bob4.server.do(move)
    change(bob4, moved=True)
    answer = visit(Browser(bob4), "/public/?x=1")
    assert answer.status_code == 410
    assert 'href="https://mini.bob4.example.org/public/?x=1"' in answer.text


def test_a_blocked_instance_shows_no_app(server: RunningServer, app: Path) -> None:
    alice5 = server.add("alice5", passphrase="cozy")
    install(alice5, app, "settings")
    change(alice5, blocked=True)
    assert visit(Browser(alice5), "/settings/", "settings").status_code == 503
    change(alice5, blocked=False)


def test_home_shows_the_apps_until_there_is_a_home_app(server: RunningServer, tmp_path: Path) -> None:
    alice4 = server.add("alice4", passphrase="cozy")
    browser = Browser(alice4)
    assert visit(browser, "/", "home").status_code == 302
    assert visit(browser, "/x", "home").status_code == 404
    answer = browser.login()
    assert answer.headers["location"] == alice4.instance.app_url("home")
    page = visit(browser, "/", "home")
    assert page.status_code == 200
    assert f"--domain {alice4.domain}" in page.text
    install(alice4, write_app(tmp_path))
    assert f'href="{alice4.instance.app_url("mini")}"' in visit(browser, "/", "home").text
    install(alice4, tmp_path, "home")
    assert boot_data(visit(browser, "/", "home").text)["app"]["slug"] == "home"


def test_flat_sub_domains_work_the_same(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    server = RunningServer(tmp_path_factory.mktemp("data"), subdomains="flat").start()
    try:
        carol5 = server.add("carol5", passphrase="cozy")
        assert carol5.instance.app_host("mini") == f"carol5-mini.localhost:{server.port}"
        install(carol5, write_app(tmp_path))
        browser = Browser(carol5)
        assert visit(browser).status_code == 302
        browser.login()
        answer = visit(browser)
        data = boot_data(answer.text)
        assert data["subdomain"] == "flat"
        assert f"http://*.localhost:{server.port}" in policy(answer)["frame-src"]
        headers = {"Authorization": f"Bearer {data['token']}"}
        assert browser.get("/files/io.cozy.files.root-dir", headers=headers).status_code == 200
    finally:
        server.stop()


# -- icons


def test_the_icon_is_for_who_may_see_the_app(visitor: Browser, owner: Browser, alice: Person) -> None:
    answer = owner.get("/apps/mini/icon")
    assert answer.text == FILES["icons/icon.svg"]
    assert answer.headers["content-type"] == "image/svg+xml"
    assert owner.get("/apps/mini/icon", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert owner.get("/apps/mini/icon/1.2.3").headers["cache-control"] == "max-age=31536000, immutable"
    refused = visitor.get("/apps/mini/icon", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["error"]) == (401, "code=401, message=No token in request")
    assert alice.get("/apps/mini/icon", "io.cozy.apps:GET").status_code == 200
    assert alice.get("/apps/mini/icon", "io.cozy.files").status_code == 403
    assert owner.get("/apps/nothere/icon").status_code == 404


def test_the_variables_are_for_a_maximal_token(alice: Person) -> None:
    assert alice.get("/apps/mini/open", "io.cozy.apps").status_code == 403

    async def fly(_: object) -> str:
        from inglenook.identity import tokens
        from inglenook.identity.clients import CLIENTS

        body = {"client_name": "flagship", "software_id": "x", "flagship": True, "redirect_uris": []}
        await alice.instance.store.write(lambda tx: tx.put(CLIENTS, "flagship", body))
        return tokens.issue(alice.instance, tokens.ACCESS, "flagship", scope="*")

    token = alice.server.do(fly)
    attributes = alice.get("/apps/mini/open", token=token).json()["data"]["attributes"]
    assert (attributes["AppName"], attributes["Domain"], attributes["Tracking"]) == ("Mini", alice.domain, False)
