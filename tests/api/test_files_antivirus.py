"""The antivirus of a context, beside a daemon that speaks as clamd does, and the alert of a full space (spec/02 §11,
§21)."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.api.drawer import Drawer, error
from tests.servers import RunningServer, free_port

from inglenook.identity.letters import LETTERS

VIRUS = b"this is as bad as EICAR"
PATIENCE = 30.0


class Daemon(socketserver.ThreadingTCPServer):
    """What `clamd` does with INSTREAM: it finds one virus, and takes 1000 bytes at most."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.looked_at: list[bytes] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]


class Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Daemon)
        assert self.rfile.read(10) == b"zINSTREAM\0"
        content = b""
        while size := int.from_bytes(self.rfile.read(4), "big"):
            content += self.rfile.read(size)
            if len(content) > 1000:
                self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        self.server.looked_at.append(content)
        self.wfile.write(b"stream: Eicar-Test FOUND\0" if VIRUS in content else b"stream: OK\0")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    running = Daemon()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def guarded(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    antivirus: dict[str, Any] = {
        "enabled": True,
        "address": f"127.0.0.1:{daemon.port}",
        "max_file_size": 5000,
        "notifications": {"email_on_infected": True},
    }
    strict = {**antivirus, "actions": {"clean": ["Download", "share", "preview", "delete"], "pending": []}}
    strict["address"] = f"127.0.0.1:{free_port()}"
    contexts = {"default": {"antivirus": antivirus}, "strict": {"antivirus": strict}}
    server = RunningServer(tmp_path_factory.mktemp("guarded"), contexts=contexts).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def drawer(guarded: RunningServer) -> Drawer:
    return Drawer(guarded.add("alice"))


def until(check: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def scanned(drawer: Drawer, id: str, status: str) -> dict[str, Any]:
    """What the antivirus found, once it has this status."""
    found: dict[str, Any] = {}

    def check() -> bool:
        nonlocal found
        found = drawer.get(id)["attributes"].get("antivirus_scan", {})
        return found.get("status") == status

    until(check, f"not {status}")
    return found


def letters(drawer: Drawer, template: str) -> list[dict[str, Any]]:
    """The letters that were asked for, sent or not."""
    mails = drawer.person.server.env.config.data / "mails"
    sent = [path.read_text(errors="replace") for path in mails.rglob("*") if path.is_file()] if mails.exists() else []
    instance = drawer.person.instance
    waiting = drawer.person.server.do(lambda _: instance.store.read(lambda view: view.records(LETTERS)))
    found = [record.body for record in waiting if record.body.get("template_name") == template]
    return [*found, *({"sent": text} for text in sent)]


def test_a_clean_file_is_looked_at_and_open(drawer: Drawer, daemon: Daemon) -> None:
    file = drawer.upload("fine.txt", b"fine content")
    found = scanned(drawer, file["id"], "clean")
    assert set(found) == {"status", "scanned_at"}
    assert b"fine content" in daemon.looked_at
    assert drawer.rev(file["id"]).startswith("3-")
    assert drawer.read(file["id"]) == b"fine content"


def test_an_infected_file_can_be_deleted_and_nothing_else(drawer: Drawer) -> None:
    folder = drawer.mkdir("folder")
    file = drawer.upload("bad.png", VIRUS, mime="image/png", into=folder["id"])
    id = file["id"]
    assert scanned(drawer, id, "infected")["virus_name"] == "Eicar-Test"
    link = {"data": {"attributes": {"ids": [id]}}}
    for method, path, body, action in (
        ("GET", f"/files/download/{id}", None, "download"),
        ("HEAD", f"/files/download/{id}", None, "download"),
        ("GET", f"/files/download?Path={drawer.path}/folder/bad.png", None, "download"),
        ("POST", f"/files/downloads?Id={id}", None, "share"),
        ("POST", "/files/archive", link, "download"),
        ("GET", drawer.get(id)["links"]["small"], None, "preview"),
    ):
        answer = drawer.call(method, path, json_body=body)
        assert answer.status_code == 451, (method, path)
        if method != "HEAD":
            told = error(answer)
            assert (told["title"], told["code"]) == ("Unavailable For Legal Reasons", "antivirus_blocked")
            wanted = f"Action '{action}' is blocked for files with antivirus status 'infected' (detected: Eicar-Test)"
            assert told["detail"] == wanted
    whole = drawer.call(
        "POST",
        "/files/archive",
        json_body={"data": {"attributes": {"ids": [folder["id"]]}}},
        headers={"Accept": "application/zip"},
    )
    assert whole.status_code == 200
    assert VIRUS not in whole.content
    assert b"bad.png" not in whole.content
    drawer.change(id, name="renamed.png")
    assert drawer.get(id)["attributes"]["antivirus_scan"]["status"] == "infected"
    until(lambda: bool(letters(drawer, "notifications_antivirus")), "no letter")
    drawer.destroy(id)


def test_a_new_content_is_looked_at_anew(drawer: Drawer) -> None:
    file = drawer.upload("bad.txt", VIRUS)
    scanned(drawer, file["id"], "infected")
    assert drawer.overwrite(file["id"], VIRUS).status_code == 200
    assert drawer.get(file["id"])["attributes"]["antivirus_scan"]["status"] == "infected"
    drawer.overwrite(file["id"], b"cured")
    scanned(drawer, file["id"], "clean")
    assert drawer.read(file["id"]) == b"cured"
    copy = drawer.ok("POST", f"/files/{file['id']}/copy", 201)["data"]
    assert copy["attributes"].get("antivirus_scan", {}).get("status") in (None, "pending", "clean")


def test_what_is_too_large_is_not_looked_at_and_what_fails_says_why(drawer: Drawer) -> None:
    large, refused = drawer.upload("large", b"x" * 6000), drawer.upload("refused", b"x" * 4000)
    scanned(drawer, large["id"], "skipped")
    assert "size limit" in scanned(drawer, refused["id"], "error")["error"]
    assert drawer.read(large["id"]) == b"x" * 6000


def test_without_a_daemon_files_are_marked_and_the_actions_of_the_operator_count(guarded: RunningServer) -> None:
    drawer = Drawer(guarded.add("bob", context="strict"))
    file = drawer.upload("a", b"a")
    scanned(drawer, file["id"], "error")
    assert drawer.read(file["id"]) == b"a"


def test_a_space_that_becomes_full_is_told_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RunningServer(tmp_path_factory.mktemp("full")).start()
    try:
        drawer = Drawer(server.add("alice", disk_quota=1000))

        def states() -> list[bool]:
            def read(view: Any) -> list[bool]:
                found = [document.body for document in view.all_docs("io.cozy.notifications")]
                assert all(body["source_id"] == "cozy/stack//disk-quota/" for body in found)
                return [body["state"] for body in sorted(found, key=lambda body: body["created_at"])]

            return server.do(lambda _: drawer.person.instance.store.read(read))

        drawer.upload("some", b"x" * 800)
        large = drawer.upload("large", b"x" * 110)
        until(lambda: states() == [True], "nothing told")
        drawer.upload("small", b"x")
        drawer.destroy(large["id"])
        until(lambda: states() == [True, False], "the end is not noted")
        drawer.upload("again", b"x" * 150)
        until(lambda: states() == [True, False, True], "not noted again")
        until(lambda: len(letters(drawer, "notifications_diskquota")) == 1, "not one letter")
    finally:
        server.stop()
