"""A move between two servers: confirmed by its owner, everything comes over, the old address tells the new one
(spec/12 §7, §9, §10)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from tests.api.moving_van import furnish, state, upload
from tests.browser_forms import fields
from tests.servers import Person, RunningServer

from inglenook.identity import sessions
from inglenook.mail.delivery import kept_mails

ROOT = "io.cozy.files.root-dir"
IMPORTS = "io.cozy.imports"
FILES = "io.cozy.files"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A second server."""
    running = RunningServer(tmp_path_factory.mktemp("elsewhere")).start()
    yield running
    running.stop()


def logged_in(person: Person) -> dict[str, str]:
    """The header of a browser with a session."""

    async def open_session(_: object) -> str:
        instance = person.instance
        session = await instance.store.write(lambda tx: sessions.open_session(tx, instance.env.clock.timestamp()))
        cookie = sessions.session_cookie(instance, session, instance.domain)
        return f"{cookie.key}={cookie.value}"

    return {"Cookie": person.server.do(open_session)}


def wait(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 40
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def mails(person: Person, word: str) -> list[str]:
    kept = kept_mails(person.server.env.config, domain=person.domain, limit=50)
    return [mail.text for mail in kept if word in mail.text]


def authorized_code(source: Person) -> str:
    """The code that the wizard gets when the owner agrees."""
    cookie = logged_in(source)
    query = {"state": "s1", "redirect_uri": "https://move.example.org/back?x=1#f"}
    page = source.get("/move/authorize", params=query, headers=cookie)
    assert page.status_code == 200
    assert "move.example.org" in page.text
    answer = source.post("/move/authorize", data=query, headers=cookie)
    assert answer.status_code == 303
    there = urlsplit(answer.headers["location"])
    sent = parse_qs(there.query)
    assert there.netloc == "move.example.org"
    assert sent["state"] == ["s1"]
    assert sent["vault"] == ["false"]
    assert int(sent["used"][0]) > 0
    return sent["code"][0]


def ask(source: Person, target: Person, code: str) -> Any:
    form = {"code": code, "target_url": target.url + "/", "target_token": target.token(f"{IMPORTS}:POST")}
    return source.post("/move/request", data=form)


def secret_of(source: Person, known: int = 0) -> str:
    texts = wait(lambda: (found := mails(source, "/move/go?secret=")) and len(found) > known and found, "a mail")
    return re.search(r"/move/go\?secret=(\w+)", texts[0])[1]  # pyright: ignore[reportOptionalSubscript]


def test_a_move_takes_everything_along(server: RunningServer, elsewhere: RunningServer) -> None:
    source = server.add("alice", passphrase="cozy", email="alice@example.com")
    target = elsewhere.add("alice", passphrase="other", email="alice@example.com")
    furnish(source)
    own_app = f"http://notes.{source.domain}/#/n/1"
    upload(source, ROOT, "own.url", f"[InternetShortcut]\r\nURL={own_app}\r\n".encode())
    upload(source, ROOT, "other.url", b"[InternetShortcut]\r\nURL=https://example.org/?u=alice\r\n")
    old_token = source.token(FILES)
    before = state(source)

    assert ask(source, target, authorized_code(source)).status_code == 200
    secret = secret_of(source)
    cookie = logged_in(source)
    assert source.get(f"/move/go?secret={secret}").status_code == 401
    page = source.get(f"/move/go?secret={secret}", headers=cookie)
    assert page.status_code == 200
    assert target.domain in page.text
    assert source.server.do(lambda _: source.instance.settings()).get("moved_to") is None

    going = source.post("/move/go", data={"secret": secret}, headers=cookie)
    assert going.status_code == 303
    assert going.headers["location"] == f"{target.url}/move/importing"
    again = source.post("/move/go", data={"secret": secret}, headers=cookie)
    assert again.status_code == 400

    wait(lambda: source.instance.doc.moved, "the source has moved")
    wait(lambda: mails(target, target.domain), "the owner has a mail")
    assert not target.instance.doc.blocked
    assert not source.instance.doc.moving
    after = state(target)
    own, was = after.pop(f"{FILES} /own.url"), before.pop(f"{FILES} /own.url")
    assert after == before
    assert (own["rev"][:2], was["rev"][:2]) == ("2-", "1-"), "a shortcut to the own address is changed as any file is"
    target.start_anew()
    led = target.get(f"/files/download/{own['id']}", FILES).text
    assert own["metadata"]["target"] == {"cozyMetadata": {"instance": target.domain}, "app": "notes"}
    assert led == f"[InternetShortcut]\r\nURL=http://notes.{target.domain}/#/n/1\r\n"
    settings = target.server.do(lambda _: target.instance.settings())
    assert settings["moved_from"] == source.domain
    assert "importing" not in settings

    gone = source.call("GET", "/files/metadata?Path=/", token=old_token)
    assert gone.status_code == 410
    error = gone.json()["errors"][0]
    assert error["code"] == "moved"
    for method, path in (("PUT", "/sharings/abc"), ("POST", "/sharings/abc/answer")):
        # invitations, and the answers to them, have no token
        nobodys = source.http.request(method, path, headers={"Host": source.domain}, json={})
        assert nobodys.status_code == 410, nobodys.text
        assert nobodys.json()["errors"][0]["links"] == error["links"]
    assert error["links"]["related"].rstrip("/") == target.url
    page = source.http.get("/?sharecode=abc", headers={"Host": f"drive.{source.domain}", "Accept": "text/html"})
    assert page.status_code == 410
    assert f"http://drive.{target.domain}/?sharecode=abc" in page.text

    cookie = logged_in(target)
    assert target.delete("/settings/instance/moved_from").status_code == 401
    assert target.delete("/settings/instance/moved_from", headers=cookie).status_code == 204
    assert "moved_from" not in target.server.do(lambda _: target.instance.settings())


def test_a_target_that_refuses_changes_nothing(server: RunningServer, elsewhere: RunningServer) -> None:
    source = server.add("bob", passphrase="cozy", email="bob@example.com")
    target = elsewhere.add("bob", passphrase="other", email="bob@example.com")
    upload(source, ROOT, "a.txt", b"a")
    form = {"code": authorized_code(source), "target_url": target.url, "target_token": "no token"}
    assert source.post("/move/request", data=form).status_code == 200
    going = source.post("/move/go", data={"secret": secret_of(source)}, headers=logged_in(source))
    assert going.status_code == 400
    assert not source.instance.doc.moving
    assert not target.instance.doc.blocked
    upload(source, ROOT, "b.txt", b"b")


def test_a_move_that_cannot_be_done_is_undone_on_both_sides(server: RunningServer, elsewhere: RunningServer) -> None:
    source = server.add("carol", passphrase="cozy", email="carol@example.com")
    target = elsewhere.add("carol", passphrase="other", email="carol@example.com", disk_quota=1000)
    upload(source, ROOT, "large.bin", b"x" * 100_000)
    upload(target, ROOT, "mine.txt", b"mine")
    assert ask(source, target, authorized_code(source)).status_code == 200
    going = source.post("/move/go", data={"secret": secret_of(source)}, headers=logged_in(source))
    assert going.status_code == 303
    wait(lambda: not source.instance.doc.moving and not target.instance.doc.blocked, "both are as before")
    assert not source.instance.doc.moved
    assert "moved_to" not in source.server.do(lambda _: source.instance.settings())
    assert target.get("/files/metadata?Path=/mine.txt", FILES).status_code == 200
    upload(source, ROOT, "after.txt", b"after")


def test_requests_of_a_wizard_are_checked(server: RunningServer, elsewhere: RunningServer) -> None:
    source = server.add("bob2", passphrase="cozy")
    assert source.get("/move/authorize?state=x&redirect_uri=https://m.example/").status_code == 303
    cookie = logged_in(source)
    for bad in ("javascript:alert(1)", "ftp://m.example/", ""):
        assert source.get("/move/authorize", params={"redirect_uri": bad}, headers=cookie).status_code == 400
    for form in ({"code": "wrong"}, {"client_id": "a"}, {}, {"client_id": "a", "client_secret": "b", "token": "c"}):
        answer = source.post("/move/request", data=form)
        assert answer.status_code == 400, form
    assert source.post("/move/request", data={}).status_code == 400
    assert source.post("/move/request", data={}).status_code == 429
    assert source.get("/move/go?secret=none", headers=cookie).status_code == 400


def test_nobody_but_the_move_ends_it(server: RunningServer) -> None:
    source = server.add("alice2", passphrase="cozy")
    right = f"{IMPORTS}:POST"
    assert source.post("/move/finalize").status_code == 401
    assert source.post("/move/finalize", right).status_code == 409
    assert source.post("/move/abort", right).status_code == 204
    assert not source.instance.doc.moved
    assert source.post("/move/importing?source=else.example", right).status_code == 204
    assert source.instance.doc.blocking_reason == "MOVING"

    page = source.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 302
    assert page.headers["location"] == f"{source.url}/move/importing"
    assert source.get("/move/importing", headers={"Accept": "text/html"}).status_code == 200
    refused = source.get("/data/io.cozy.contacts/x", headers={"Accept": "application/json"})
    assert refused.status_code == 503
    assert refused.json()[0]["code"] == "moving"
    assert source.post("/move/abort", right).status_code == 204
    assert not source.instance.doc.blocked


def test_an_instance_that_moves_away_can_be_read_but_not_changed(server: RunningServer) -> None:
    source = server.add("carol3", passphrase="cozy")

    def set_moving(moving: bool) -> None:
        server.do(
            lambda runtime: runtime.instances.modify(
                source.instance, lambda doc: msgspec.structs.replace(doc, moving=moving)
            )
        )

    upload(source, ROOT, "a.txt", b"a")
    set_moving(True)
    answer = source.post(f"/files/{ROOT}?Type=file&Name=b.txt", FILES, content=b"b")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    assert answer.json()["errors"][0]["code"] == "moving"
    assert source.get("/files/metadata?Path=/a.txt", FILES).status_code == 200
    set_moving(False)
    upload(source, ROOT, "b.txt", b"b")


def test_a_move_without_a_wizard(server: RunningServer, elsewhere: RunningServer) -> None:
    source = server.add("bob3", passphrase="cozy", email="bob3@example.com")
    target = elsewhere.add("bob3", passphrase="other", email="bob3@example.com")
    upload(source, ROOT, "a.txt", b"a")
    here, there = logged_in(source), logged_in(target)
    assert source.get("/move/start").status_code == 303
    assert source.get("/move/start", headers=here).status_code == 200
    for wrong in ("", "javascript:x", source.url, "http://nobody.invalid"):
        assert source.post("/move/start", data={"target": wrong}, headers=here).status_code == 400
    away = source.post("/move/start", data={"target": target.url}, headers=here)
    assert away.status_code == 303
    consent = urlsplit(away.headers["location"])
    assert f"{consent.scheme}://{consent.netloc}" == target.url
    page = target.get(f"{consent.path}?{consent.query}", headers=there)
    assert page.status_code == 200
    csrf = page.headers["set-cookie"].partition(";")[0]
    form = {name: value for name, value in fields(page.text).items() if name}
    agreed = target.post(consent.path, data=form, headers={"Cookie": f"{there['Cookie']}; {csrf}"})
    assert agreed.status_code in (302, 303), agreed.text
    back = urlsplit(agreed.headers["location"])
    confirm = source.get(f"{back.path}?{back.query}", headers=here)
    assert confirm.status_code == 303
    secret = parse_qs(urlsplit(confirm.headers["location"]).query)["secret"][0]
    assert source.get(f"/move/go?secret={secret}", headers=here).status_code == 200
    assert source.post("/move/go", data={"secret": secret}, headers=here).status_code == 303
    wait(lambda: source.instance.doc.moved, "the source has moved")
    target.start_anew()
    assert target.get("/files/metadata?Path=/a.txt", FILES).status_code == 200
