"""Many requests for the same thing at the same moment, whichever process of a server answers them: who wins is told,
who loses is told, and what is left is whole (spec/02 §12.1)."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import quote

import httpx

from .people import ROOT, Person

MANY = 8  # requests at a time
ROUNDS = 4

Request = Callable[[], httpx.Response]
_numbers = itertools.count(1)


def together(requests: Sequence[Request]) -> list[httpx.Response]:
    """The answers to requests that are sent at the same moment, none of which may be a fault of the server."""
    start = threading.Barrier(len(requests))

    def send(request: Request) -> httpx.Response:
        start.wait()
        return request()

    with ThreadPoolExecutor(len(requests)) as clients:
        answers = list(clients.map(send, requests))
    faults = [(answer.status_code, answer.text) for answer in answers if answer.status_code >= 500]
    assert faults == []
    return answers


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    """How many answers there are of each status."""
    return Counter(answer.status_code for answer in answers)


def corner(person: Person) -> str:
    """An empty folder of its own."""
    return person.mkdir(f"Rush {next(_numbers)}")


def upload(person: Person, parent: str, name: str, content: bytes = b"x") -> Request:
    """An upload, to be sent."""
    path = f"/files/{parent}?Type=file&Name={quote(name, safe='')}"
    return partial(person.call, "POST", path, content=content, headers={"Content-Type": "text/plain"})


def change(person: Person, id: str, **attributes: object) -> Request:
    """A change of attributes, to be sent."""
    body = {"data": {"type": "io.cozy.files", "id": id, "attributes": attributes}}
    return partial(person.call, "PATCH", f"/files/{id}", body=body)


def one_name_is_given_once(person: Person) -> None:
    """Uploads, new folders, renames and moves to one name: one of them gets it."""
    for _ in range(ROUNDS):
        place, other = corner(person), corner(person)
        answers = together([upload(person, place, "same", b"%d" % n) for n in range(MANY)])
        assert statuses(answers) == {201: 1, 409: MANY - 1}
        winner = next(n for n, answer in enumerate(answers) if answer.status_code == 201)
        assert person.read(person.find(place, "same")) == b"%d" % winner
        folder = f"/files/{place}?Type=directory&Name=folder"
        assert statuses(together([partial(person.call, "POST", folder)] * MANY)) == {201: 1, 409: MANY - 1}
        renamed = [person.upload(f"{n}.txt", b"x", place) for n in range(MANY // 2)]
        moved = [person.upload("target.txt", b"x", person.mkdir(f"from {n}", other)) for n in range(MANY // 2)]
        requests = [change(person, id, name="target.txt") for id in renamed]
        requests += [change(person, id, dir_id=place) for id in moved]
        assert statuses(together(requests)) == {200: 1, 409: MANY - 1}


def a_path_is_made_by_all_who_want_it(person: Person) -> None:
    """Recursive creations of paths that overlap: all succeed, and there is one tree."""
    for turn in range(ROUNDS):
        title = f"Paths {next(_numbers)}"
        paths = [f"/{title}/a/b/c", f"/{title}/a/b", f"/{title}/a/b/d", f"/{title}/a/e"] * (MANY // 4)
        wanted = [{"Type": "directory", "Path": path, "Recursive": "true"} for path in paths]
        make = [partial(person.call, "POST", "/files/", params=params) for params in wanted]
        assert statuses(together(make)) == {201: MANY}, turn
        found = person.at(f"/{title}")
        assert found is not None
        assert sorted(person.tree(found["id"])) == ["a", "a/b", "a/b/c", "a/b/d", "a/e"]


def no_folder_gets_into_itself(person: Person) -> None:
    """Two folders that are moved into each other: at most one of them goes, and both can be reached."""
    for _ in range(ROUNDS * 3):
        place = corner(person)
        a, b = person.mkdir("a", place), person.mkdir("b", place)
        deep_a, deep_b = person.mkdir("deep", a), person.mkdir("deep", b)
        answers = together([change(person, a, dir_id=deep_b), change(person, b, dir_id=deep_a)])
        assert statuses(answers) == {200: 1, 412: 1}
        assert len(person.tree(place)) == 4


def the_quota_holds(person: Person) -> None:
    """Uploads, copies and new contents that together have no room: what is taken never exceeds the quota."""
    place, size = corner(person), 200_000
    source = person.upload("source.bin", random.Random(0).randbytes(size), place)
    used = int(person.do("GET", "/settings/disk-usage")["data"]["attributes"]["used"])
    room = 3
    person.server.ask("instances", "set-disk-quota", person.domain, str(used + room * size))
    try:
        sent = [random.Random(n).randbytes(size) for n in range(1, MANY + 1)]
        requests = [upload(person, place, f"{n}.bin", content) for n, content in enumerate(sent)]
        requests += [partial(person.call, "POST", f"/files/{source}/copy")] * 2
        answers = statuses(together(requests))
        assert answers == {201: room, 413: len(requests) - room}
        now = int(person.do("GET", "/settings/disk-usage")["data"]["attributes"]["used"])
        assert now == used + room * size
    finally:
        person.server.ask("instances", "set-disk-quota", person.domain, "0")


def one_revision_is_followed_once(person: Person) -> None:
    """Contents for the same revision of a file: one is taken, no version is lost or made up."""
    for _ in range(ROUNDS):
        place = corner(person)
        id = person.upload("file.txt", b"first", place)
        rev = person.rev(id)
        kind = {"Content-Type": "text/plain", "If-Match": rev}
        path = f"/files/{id}"
        answers = together([partial(person.call, "PUT", path, content=b"%d" % n, headers=kind) for n in range(MANY)])
        taken = [n for n, answer in enumerate(answers) if answer.status_code == 200]
        assert len(taken) == 1
        assert set(statuses(answers)) <= {200, 409, 412}
        assert person.read(id) == b"%d" % taken[0]
        (version,) = person.do("GET", f"/files/{id}")["included"]
        assert person.call("GET", f"/files/download/{version['id']}").content == b"first"


def nothing_that_was_answered_is_overwritten(person: Person) -> None:
    """References, tags, names and copies of one file: each of them is there afterwards."""
    for _ in range(ROUNDS):
        place = corner(person)
        id = person.upload("file.txt", b"x", place)
        path = f"/files/{id}/relationships/referenced_by"
        albums = [{"data": [{"id": f"album{n}", "type": "io.cozy.photos.albums"}]} for n in range(MANY)]
        refer = [partial(person.call, "POST", path, body=album) for album in albums]
        copy = [partial(person.call, "POST", f"/files/{id}/copy")] * 4
        other = [change(person, id, tags=["a", "b"]), change(person, id, executable=True)]
        answers = together([*refer, *copy, *other])
        assert set(statuses(answers)) <= {200, 201, 409}
        shown = person.show(id)
        referred = {item["id"] for item in shown["relationships"]["referenced_by"]["data"]}
        assert referred == {f"album{n}" for n in range(MANY) if answers[n].status_code == 200}
        copies = [answer.json()["data"]["id"] for answer in answers[MANY : MANY + 4] if answer.status_code == 201]
        assert len(person.children(place)) == 1 + len(copies)
        if answers[-2].status_code == 200:
            assert shown["attributes"]["tags"] == ["a", "b"]
        if answers[-1].status_code == 200:
            assert shown["attributes"]["executable"] is True


def names_in_the_trash_are_free_ones(person: Person) -> None:
    """Items of one name go to the trash, and come back to one folder: each has a name of its own."""
    for _ in range(ROUNDS):
        place = corner(person)
        ids = [person.upload("same.txt", b"%d" % n, person.mkdir(f"{n}", place)) for n in range(MANY)]
        assert statuses(together([partial(person.call, "DELETE", f"/files/{id}") for id in ids])) == {200: MANY}
        assert len({person.show(id)["attributes"]["name"] for id in ids}) == MANY
        back = together([partial(person.call, "POST", f"/files/trash/{id}") for id in ids])
        assert statuses(back) == {200: MANY}
        assert [person.read(person.find(place, f"{n}/same.txt")) for n in range(MANY)] == [
            b"%d" % n for n in range(MANY)
        ]


def a_folder_goes_while_things_come_into_it(person: Person) -> None:
    """Uploads into a folder that is renamed, sent to the trash, restored or destroyed meanwhile."""
    for _ in range(ROUNDS):
        place = corner(person)
        folder = person.mkdir("busy", place)
        come = [upload(person, folder, f"{n}.txt", b"%d" % n) for n in range(MANY)]
        away = [
            change(person, folder, name="renamed"),
            partial(person.call, "DELETE", f"/files/{folder}"),
            partial(person.call, "POST", f"/files/trash/{folder}"),
        ]
        answers = together([*come, *away])
        assert set(statuses(answers[:MANY])) <= {201, 404}
        there = person.children(folder)
        assert set(there) == {f"{n}.txt" for n in range(MANY) if answers[n].status_code == 201}
        in_trash = person.show(folder)["attributes"]["path"].startswith("/.cozy_trash/")
        assert {item["attributes"]["trashed"] for item in there.values()} <= {in_trash}
        come = [upload(person, folder, f"late {n}.txt", b"x" * 100_000) for n in range(MANY)]
        together([*come, change(person, folder, permanent_delete=True)])
        assert person.call("GET", f"/files/{folder}").status_code == 404


def a_document_is_made_once(person: Person) -> None:
    """The first documents of a doctype, documents under one id, changes of one revision, one index."""
    token = person.server.ask("instances", "token-cli", person.domain, "io.cozy.tests.*")
    client = Person(person.server, person.name, token)
    for _ in range(ROUNDS):
        database = f"/data/io.cozy.tests.rush{next(_numbers)}"
        first = together([partial(client.call, "POST", f"{database}/", body={"n": n}) for n in range(MANY)])
        assert statuses(first) == {201: MANY}
        path = f"{database}/one"
        made = together([partial(client.call, "PUT", path, body={"n": 1})] * MANY)
        assert statuses(made) == {200: 1, 409: MANY - 1}
        body = client.do("GET", path)
        written = together([partial(client.call, "PUT", path, body={**body, "n": n}) for n in range(MANY)])
        assert statuses(written) == {200: 1, 409: MANY - 1}
        index = {"index": {"fields": ["n"]}, "ddoc": "by_n"}
        indexed = together([partial(client.call, "POST", f"{database}/_index", body=index)] * MANY)
        assert Counter(answer.json().get("result") for answer in indexed) == {"created": 1, "exists": MANY - 1}


RUSHES: list[Callable[[Person], None]] = [
    one_name_is_given_once,
    a_path_is_made_by_all_who_want_it,
    no_folder_gets_into_itself,
    the_quota_holds,
    one_revision_is_followed_once,
    nothing_that_was_answered_is_overwritten,
    names_in_the_trash_are_free_ones,
    a_folder_goes_while_things_come_into_it,
    a_document_is_made_once,
]


def is_whole(person: Person) -> None:
    """The files of an instance are consistent."""
    assert person.server.ask("check", "fs", person.domain) == ""
    person.do("DELETE", "/files/trash")
    assert person.show(ROOT)["id"] == ROOT
