"""Web apps come and go: sources, archives with bad intentions, updates, rights, who may do it (spec/03 §12.1-12.3)."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.api.apps_workshop import FILES, RULES, add, install, manifest, operator, packed, visit, write_app
from tests.browser_forms import Browser
from tests.servers import Person, RunningServer

from inglenook.apps import documents, installing, stored_files
from inglenook.kernel.errors import (
    BadRequest,
    Conflict,
    DomainError,
    InvalidParameter,
    NotFound,
    TooLarge,
)


@pytest.fixture
def person(server: RunningServer, request: pytest.FixtureRequest) -> Person:
    """Somebody new for each test."""
    person.count += 1  # type: ignore[attr-defined]
    return server.add(f"guest{person.count}", passphrase=None)  # type: ignore[attr-defined]


person.count = 0  # type: ignore[attr-defined]


def stored(person: Person, slug: str = "mini") -> dict[str, Any] | None:
    """The document of an app."""

    async def read(_: object) -> Any:
        return await person.instance.store.read(lambda view: documents.get(view, slug))

    document = person.server.do(read)
    return document.body if document else None


def leftovers(person: Person) -> tuple[int, int]:
    """How many batches of files and how many unfinished generations the store knows."""

    async def read(_: object) -> Any:
        return await person.instance.store.read(
            lambda view: (len(view.records(stored_files.BATCHES)), len(view.records(stored_files.STAGED)))
        )

    return person.server.do(read)


def holds(person: Person, path: str, slug: str = "mini") -> bool:
    """Whether a file of an app is there."""

    async def read(_: object) -> Any:
        return await person.instance.store.read(lambda view: stored_files.look_up(view, slug, path))

    return person.server.do(read) is not None


def update(person: Person, source: str = "", **more: Any) -> dict[str, Any]:
    """Update, and give the document."""
    return person.server.do(lambda _: installing.update(person.instance, "mini", source, **more)).body


# -- sources


def test_a_folder_is_copied_and_needed_no_more(person: Person, tmp_path: Path) -> None:
    document = install(person, write_app(tmp_path))
    for name in FILES:
        (tmp_path / name).unlink()
    assert all(holds(person, f"/{name}") for name in FILES)
    assert document.body["version"].startswith("1.2.3-")
    assert len(document.body["version"]) == len("1.2.3-") + 10
    assert document.body["state"] == "ready"
    assert leftovers(person)[1] == 0


@pytest.mark.parametrize("top", ["", "mini-1.2.3/", "./"])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_an_archive_is_unpacked_wherever_its_manifest_is(person: Person, tmp_path: Path, top: str, mode: str) -> None:
    archive = tmp_path / "mini.tar.gz"
    archive.write_bytes(packed(top=top, mode=mode))
    assert install(person, archive).body["version"] == "1.2.3"
    assert all(holds(person, f"/{name}") for name in FILES)


def test_an_archive_comes_from_the_web_when_its_digest_is_right(person: Person, website: dict[str, Any]) -> None:
    archive = packed()
    website["/mini.tar.gz"] = (200, archive)
    url = f"{website['']}/mini.tar.gz"
    with pytest.raises(BadRequest, match="SHA-256"):
        install(person, f"{url}#{'0' * 64}")
    with pytest.raises(InvalidParameter):
        install(person, f"{url}#nonsense")
    with pytest.raises(NotFound):
        install(person, f"{website['']}/nothing.tar.gz")
    assert stored(person) is None
    source = f"{url}#{hashlib.sha256(archive).hexdigest()}"
    assert install(person, source).body["source"] == source
    assert holds(person, "/assets/app.js")


def test_nothing_is_fetched_for_the_same_version(person: Person, website: dict[str, Any]) -> None:
    website["/mini.tar.gz"] = (200, packed())
    source = f"{website['']}/mini.tar.gz"
    before = install(person, source)
    assert update(person) == before.body
    website["/mini.tar.gz"] = (200, packed(version="1.10.0"))
    assert update(person)["version"] == "1.10.0"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("nonsense", InvalidParameter),
        ("ftp://example.org/x.tar", InvalidParameter),
        ("git://example.org/x", InvalidParameter),
        ("file:relative", InvalidParameter),
        ("file://elsewhere/srv/app", InvalidParameter),
        ("file:///dev/null", InvalidParameter),
        ("file:///does/not/exist", NotFound),
        ("registry://mini/stable", NotFound),
        ("builtin:nothing-of-that-name", NotFound),
        ("builtin:../apps", InvalidParameter),
    ],
)
def test_what_is_no_source_is_refused_with_the_reason(person: Person, source: str, error: type[DomainError]) -> None:
    with pytest.raises(error) as refused:
        install(person, source)
    assert refused.value.detail
    assert stored(person) is None


@pytest.mark.parametrize("slug", ["", "Upper", "a b", "a/b", "a.b", "é"])
def test_a_slug_has_small_letters_digits_and_hyphens(person: Person, tmp_path: Path, slug: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        install(person, write_app(tmp_path), slug)
    assert refused.value.parameter == "slug"


@pytest.mark.parametrize(
    "text",
    [
        None, "{not json", "[]", json.dumps(manifest(type="konnector")), json.dumps(manifest(permissions=[1])),
        json.dumps(manifest(permissions={"a": {"type": "not a type"}})),
        json.dumps(manifest(permissions={"a": {"type": "io.cozy.files", "verbs": ["FLY"]}})),
        json.dumps(manifest(permissions={"a": {"type": "*"}})), json.dumps(manifest(routes={"/": 1})),
        json.dumps(manifest(routes={"/": {"folder": 1}})), json.dumps(manifest(name=5)),
        json.dumps(manifest(intents=[{"action": 1}])), '{"a":' * 100_000,
        json.dumps(manifest(filler="x" * 2_200_000)),
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused_and_nothing_stays(person: Person, tmp_path: Path, text: str | None) -> None:
    write_app(tmp_path)
    (tmp_path / "manifest.webapp").unlink()
    if text is not None:
        (tmp_path / "manifest.webapp").write_text(text)
    with pytest.raises((BadRequest, NotFound)):
        install(person, tmp_path)
    assert stored(person) is None
    assert leftovers(person) == (0, 0)


def test_links_within_the_folder_are_followed_and_others_refused(person: Person, tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app")
    (folder / "again.txt").symlink_to(folder / "private.txt")
    install(person, folder)
    assert holds(person, "/again.txt")
    (folder / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(BadRequest, match="leads out"):
        update(person)


# -- archives with bad intentions


def link(tar: tarfile.TarFile) -> None:
    add(tar, "evil", type=tarfile.SYMTYPE, linkname="/etc/passwd")


def hard_link(tar: tarfile.TarFile) -> None:
    add(tar, "evil", type=tarfile.LNKTYPE, linkname="../../etc/passwd")


def device(tar: tarfile.TarFile) -> None:
    add(tar, "evil", type=tarfile.CHRTYPE)


def pipe(tar: tarfile.TarFile) -> None:
    add(tar, "evil", type=tarfile.FIFOTYPE)


def above(tar: tarfile.TarFile) -> None:
    add(tar, "assets/../../evil", b"x")


def absolute(tar: tarfile.TarFile) -> None:
    add(tar, "/etc/evil", b"x")


def backslash(tar: tarfile.TarFile) -> None:
    add(tar, "..\\evil", b"x")


def long_name(tar: tarfile.TarFile) -> None:
    add(tar, "a/" * 2000 + "evil", b"x")


@pytest.mark.parametrize("trick", [link, hard_link, device, pipe, above, absolute, backslash, long_name])
def test_an_archive_has_only_plain_files_in_it(
    person: Person, tmp_path: Path, trick: Callable[[tarfile.TarFile], None]
) -> None:
    archive = tmp_path / "evil.tar.gz"
    archive.write_bytes(packed(extra=trick))
    with pytest.raises(BadRequest):
        install(person, archive)
    assert not holds(person, "/index.html")
    assert leftovers(person) == (0, 0)


def header(name: str, size: str, kind: bytes = b"0") -> bytes:
    """The raw header of an entry, whatever it claims."""
    entry = tarfile.TarInfo(name)
    raw = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
    raw[124:136] = size.encode().ljust(12, b"\0") if not size.startswith("-") else b"\xff" * 8 + b"\xff\xff\xfe\x00"
    raw[156:157] = kind
    raw[148:156] = b" " * 8
    raw[148:156] = f"{sum(raw):06o}\0 ".encode()
    return bytes(raw)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\x1f", b"\x1f\x8b garbage", b"no archive at all" * 100, packed()[:-20], packed()[:200],
        packed(mode="w")[:1000],
        header("huge", "77777777777"), header("huge", "77777777777", b"x"), header("long", "77777777777", b"L"),
        header("negative", "-512"), header("negative", "-512", b"x"), header("long", "00000000010", b"L") * 5000,
        gzip.compress(b"\0" * 10_000_000),
    ],
)  # fmt: skip
def test_a_broken_archive_is_refused(person: Person, tmp_path: Path, body: bytes) -> None:
    archive = tmp_path / "broken.tar.gz"
    archive.write_bytes(body)
    with pytest.raises((BadRequest, NotFound)):
        install(person, archive)
    assert leftovers(person) == (0, 0)


def test_a_bomb_does_not_go_off(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inglenook.apps.archives.MAX_UNPACKED", 5_000_000)
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb") as press:
        press.write(packed(mode="w"))
        for _ in range(20):
            press.write(b"\0" * 1_000_000)
    archive = tmp_path / "bomb.tar.gz"
    archive.write_bytes(target.getvalue())
    assert archive.stat().st_size < 50_000
    with pytest.raises(TooLarge):
        install(person, archive)
    assert stored(person) is None


# -- twice, updates, the end


def test_an_app_is_installed_once(person: Person, tmp_path: Path) -> None:
    install(person, write_app(tmp_path))
    with pytest.raises(Conflict, match="Application with same slug already exists"):
        install(person, tmp_path)


def test_an_installation_that_failed_can_be_tried_again(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_app(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(stored_files, "MAX_FILES", 3)
        with pytest.raises(TooLarge):
            install(person, tmp_path)
    failed = stored(person)
    assert failed is not None
    assert (failed["state"], failed["error"]) == ("errored", "The app is too large")
    assert leftovers(person) == (0, 0)
    assert "error" not in install(person, tmp_path).body


def test_an_update_replaces_all_files_at_once(person: Person, tmp_path: Path) -> None:
    install(person, write_app(tmp_path))
    (tmp_path / "private.txt").unlink()
    (tmp_path / "new.txt").write_text("new")
    write_app(tmp_path, files={}, version="2.0.0", name="Newer")
    body = update(person)
    assert body["name"] == "Newer"
    assert body["version"].startswith("2.0.0-")
    assert holds(person, "/new.txt")
    assert not holds(person, "/private.txt")
    assert leftovers(person)[1] == 0


def test_an_update_without_a_change_keeps_version_and_files(person: Person, tmp_path: Path) -> None:
    before = install(person, write_app(tmp_path)).body
    batches = leftovers(person)
    after = update(person)
    assert {**after, "updated_at": before["updated_at"]} == before
    assert leftovers(person) == batches


def test_an_update_that_fails_leaves_the_old_version_at_work(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(person, write_app(tmp_path))
    (tmp_path / "public/doc.txt").write_text("never seen")
    monkeypatch.setattr(stored_files, "MAX_FILES", 3)
    with pytest.raises(TooLarge):
        update(person)
    body = stored(person)
    assert body is not None
    assert (body["state"], body["error"]) == ("ready", "The app is too large")
    assert visit(Browser(person), "/public/doc.txt").status_code in (200, 302)
    assert holds(person, "/public/doc.txt")
    assert leftovers(person)[1] == 0


def rights(person: Person) -> dict[str, Any]:
    """The rules of the app as they are now."""

    async def read(_: object) -> Any:
        from inglenook.identity import permission_documents

        return await person.instance.store.read(
            lambda view: permission_documents.of_source(view, "app", "io.cozy.apps/mini")
        )

    document = person.server.do(read)
    return document.body["permissions"] if document else {}


def patch_rights(person: Person, rules: dict[str, Any]) -> None:
    """Change the rules of the app as its user."""
    token = person.token("io.cozy.contacts", "io.cozy.files", "io.cozy.permissions")
    body = {"data": {"type": "io.cozy.permissions", "attributes": {"permissions": rules}}}
    assert person.patch("/permissions/apps/mini", token=token, json_body=body).status_code == 200


def test_what_the_user_changed_in_the_rights_survives_an_update(person: Person, tmp_path: Path) -> None:
    install(person, write_app(tmp_path))
    assert list(rights(person)) == ["files", "tests"]
    patch_rights(person, {"extra": {"type": "io.cozy.contacts", "verbs": ["GET"]}, "files": {}})
    write_app(tmp_path, files={}, version="2", permissions={**RULES, "more": {"type": "io.cozy.tests.more"}})
    update(person)
    assert list(rights(person)) == ["tests", "more", "extra"]


def test_new_rights_wait_for_the_user_in_production(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RunningServer(tmp_path_factory.mktemp("data"), dev=False).start()
    try:
        carol = server.add("carol")
        install(carol, write_app(tmp_path))
        write_app(tmp_path, files={}, version="2", permissions={"all": {"type": "io.cozy.contacts"}})
        body = update(carol, acknowledged=False)
        assert body["version"].startswith("1.2.3-")
        assert body["available_version"].startswith("2-")
        assert "all" not in rights(carol)
        body = update(carol, acknowledged=True)
        assert body["version"].startswith("2-")
        assert "available_version" not in body
        assert list(rights(carol)) == ["all"]
    finally:
        server.stop()


def test_what_a_crash_left_behind_is_tidied_up(person: Person, tmp_path: Path) -> None:
    install(person, write_app(tmp_path))

    async def crash_and_open(_: object) -> None:
        instance = person.instance

        def crash(tx: Any) -> None:
            document = documents.find(tx, "mini")
            tx.put("io.cozy.apps", document.id, {**document.body, "state": "upgrading"}, rev=document.rev)
            generation = stored_files.announce(tx, instance, "mini")
            tx.put_record(stored_files.BATCHES, f"mini/{generation}/000000", [f"mini/{generation}/plain/x"])

        await instance.store.write(crash)
        await installing.mend(instance)

    before = leftovers(person)
    person.server.do(crash_and_open)
    body = stored(person)
    assert body is not None
    assert body["state"] == "ready"
    assert leftovers(person) == before
    assert holds(person, "/index.html")


def test_an_app_that_goes_takes_its_files_and_rights_along(person: Person, tmp_path: Path) -> None:
    install(person, write_app(tmp_path))
    person.server.do(lambda _: installing.uninstall(person.instance, "mini"))
    assert stored(person) is None
    assert rights(person) == {}
    assert leftovers(person) == (0, 0)
    with pytest.raises(NotFound, match="Application is not installed"):
        person.server.do(lambda _: installing.uninstall(person.instance, "mini"))


# -- over HTTP


def test_an_operator_installs_updates_and_removes(person: Person, tmp_path: Path) -> None:
    token = operator(person)
    source = write_app(tmp_path).as_uri()
    with person.http.stream(
        "POST", "/apps/mini", params={"Source": source},
        headers={"Authorization": f"Bearer {token}", "Accept": "text/event-stream"},
    ) as answer:  # fmt: skip
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        text = "".join(answer.iter_text())
    events = [block.split("\r\n") for block in text.split("\r\n\r\n") if block]
    assert [lines[0] for lines in events] == ["event: state"] * 2
    states = [json.loads(lines[1].removeprefix("data: "))["data"]["attributes"]["state"] for lines in events]
    assert states == ["installing", "ready"]
    assert person.post("/apps/mini", token=token, params={"Source": source}).status_code == 409

    (tmp_path / "new.txt").write_text("new")
    answer = person.put("/apps/mini", token=token, headers={"Accept": "text/event-stream"})
    assert '"state":"upgrading"' in answer.text
    assert answer.text.rindex('"state":"ready"') > answer.text.rindex('"state":"upgrading"')

    shown = person.get("/apps/mini", token=token).json()["data"]
    unsaid = {name: shown["attributes"][name] for name in ("notifications", "services", "terms")}
    assert unsaid == {"notifications": None, "services": None, "terms": {"url": "", "version": ""}}
    assert shown["links"]["related"] == person.instance.app_url("mini")
    removed = person.delete("/apps/mini", token=token)
    assert removed.status_code == 200
    assert removed.json()["data"]["attributes"]["slug"] == "mini"
    assert person.delete("/apps/mini", token=token).status_code == 404


def test_an_installation_in_the_background_ends_by_itself(person: Person, tmp_path: Path) -> None:
    token = operator(person)
    answer = person.post("/apps/mini", token=token, params={"Source": write_app(tmp_path).as_uri()})
    assert answer.status_code == 202
    assert answer.json()["data"]["attributes"]["state"] == "installing"
    seen = ""
    for _ in range(2000):
        seen = person.get("/apps/mini", token=token).json()["data"]["attributes"]["state"]
        if seen != "installing":
            break
    assert seen == "ready"


@pytest.mark.parametrize(
    ("slug", "source", "status"),
    [("mini", "http://[", 422), ("mini", "http:///x", 422), ("mini", "https://10.0.0.1/x.tar", 422),
     ("mini", "http://127.0.0.1:1/x.tar", 502), ("mini", "file:///etc/passwd", 400),
     ("mini", "file:///proc/self/mem", 400), ("mini", "file:///" + "a" * 5000, 400), ("UPPER", "file:///tmp", 422),
     ("mini", "gopher://x", 422), ("mini", "file:///nothing/there", 404),
     ("mini", "", 404), ("mini", "registry://mini", 404)],
)  # fmt: skip
def test_bad_requests_for_an_installation_say_why(person: Person, slug: str, source: str, status: int) -> None:
    answer = person.post(f"/apps/{slug}", token=operator(person), params={"Source": source})
    assert answer.status_code == status
    assert answer.json()["errors"][0]["detail"]


def test_only_the_operator_and_the_store_change_apps(person: Person, tmp_path: Path) -> None:
    source = write_app(tmp_path).as_uri()
    token = person.token("io.cozy.apps")
    assert person.post("/apps/mini", token=token, params={"Source": source}).status_code == 403
    assert person.post("/apps/mini", token=token, params={"Source": "registry://mini"}).status_code == 403
    install(person, tmp_path)
    assert person.put("/apps/mini", token=token).status_code == 403
    assert person.delete("/apps/mini", token=token).status_code == 403
    read_only = operator(person, "io.cozy.apps:GET")
    assert person.delete("/apps/mini", token=read_only).status_code == 403


def test_the_list_goes_on_page_by_page(person: Person, tmp_path: Path) -> None:
    write_app(tmp_path)
    for slug in ("a-one", "b-two", "c-three"):
        install(person, tmp_path, slug)
    page = person.get("/apps/?limit=2", "io.cozy.apps").json()
    assert [one["attributes"]["slug"] for one in page["data"]] == ["a-one", "b-two"]
    rest = person.get(page["links"]["next"], "io.cozy.apps").json()
    assert [one["attributes"]["slug"] for one in rest["data"]] == ["c-three"]
    assert rest["links"] == {}
    assert person.get("/apps/?limit=x", "io.cozy.apps").status_code == 422


def test_rights_may_name_an_app_by_a_field(person: Person, tmp_path: Path) -> None:
    install(person, write_app(tmp_path))
    assert person.get("/apps/mini", "io.cozy.apps:GET:mini:slug").status_code == 200
    assert person.get("/apps/mini", "io.cozy.apps:GET:other:slug").status_code == 403
    assert person.get("/apps/", "io.cozy.apps:GET:mini:slug").status_code == 403


def test_a_linked_client_keeps_its_app(person: Person, tmp_path: Path) -> None:
    install(person, write_app(tmp_path))
    from inglenook.identity.clients import CLIENTS

    async def link_client(_: object) -> None:
        body = {"client_name": "phone", "software_id": "registry://mini", "redirect_uris": ["http://localhost/"]}
        await person.instance.store.write(lambda tx: tx.put(CLIENTS, "phone", body))

    person.server.do(link_client)
    refused = person.delete("/apps/mini", token=operator(person))
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["detail"] == "A linked OAuth client exists for this app"


def test_the_files_come_out_as_they_went_in(person: Person, tmp_path: Path) -> None:
    install(person, write_app(tmp_path))
    answer = person.get("/apps/mini/download", "io.cozy.apps")
    with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:gz") as tar:
        found = {member.name: tar.extractfile(member).read().decode() for member in tar}  # type: ignore[union-attr]
    assert found == {**FILES, "manifest.webapp": json.dumps(manifest())}
    assert person.get("/apps/mini/download/0.0.1", "io.cozy.apps").status_code == 404


def test_there_are_no_konnectors(person: Person) -> None:
    answer = person.get("/konnectors/", "io.cozy.konnectors")
    assert answer.json() == {"data": [], "links": {}, "meta": {"count": 0}}
    assert person.get("/konnectors/bank", "io.cozy.konnectors").status_code == 404
    assert person.get("/konnectors/", "io.cozy.files").status_code == 403
