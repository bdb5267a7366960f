"""Random histories of files and folders, against a real server process that is killed and started again in between.

After every step the tree that the server shows is the one of a model in memory (`tree_model`): names, places, contents,
marks of the trash, versions, references, used space. What was acknowledged is there, what was refused is not.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.federation.processes import Server
from tests.fuzz.tree_model import ROOT, TRASH, UNKNOWN, Node, Tree, is_marked, without_mark

EXAMPLES, STEPS = 8, 30
MOST_LIVES = 6  # of the server process
FILES = "io.cozy.files"

numbers = itertools.count(1)
names = st.sampled_from(["a", "b", "a (2)", "é", "e\u0301", "A", "b.txt", " "])
contents = st.sampled_from([b"", b"one", b"two", b"three" * 20_000])
picks = st.integers(0, 1000)


class Household:
    """A server process and a fresh instance for each history."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(folder).start()
        self.http = httpx.Client(base_url=self.server.origin, timeout=60, trust_env=False)
        self.domain = ""

    def move_in(self) -> None:
        """A new instance, and a client that may do everything with files."""
        self.domain = domain = f"person{next(numbers)}.localhost:{self.server.port}"
        self.server.ask("instances", "add", domain)
        client = self.server.ask("instances", "client-oauth", domain, "http://localhost", "fuzz", "example.com/fuzz")
        token = self.server.ask(
            "instances", "token-oauth", domain, client, "io.cozy.files io.cozy.files.versions io.cozy.settings:GET"
        )
        self.http.headers.update({"Host": domain, "Authorization": f"Bearer {token}"})

    def kill(self) -> None:
        """As by a power cut; then start again."""
        self.server.kill()
        self.server.start()

    def close(self) -> None:
        """End."""
        self.http.close()
        self.server.stop()


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    household = Household(tmp_path_factory.mktemp("server"))
    yield household
    household.close()


def referring(item: dict[str, Any]) -> set[str]:
    """The ids of the references of a file or folder."""
    return {reference["id"] for reference in item["relationships"]["referenced_by"]["data"] or []}


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


class Files(RuleBasedStateMachine):
    """One instance and a client of its files."""

    household: Household

    @initialize()
    def begin(self) -> None:
        self.household.move_in()
        self.tree = Tree()
        self.gone: list[str] = []
        for id, item in self.listed(ROOT).items():
            self.tree.nodes[id] = Node(id, item["attributes"]["name"], ROOT, references=referring(item))

    # -- making

    @rule(pick=picks, name=names)
    def make_a_folder(self, pick: int, name: str) -> None:
        dir_id = self.folder(pick)
        answer = self.call("POST", f"/files/{dir_id}", params={"Type": "directory", "Name": name})
        assert answer.status_code == self.tree.creation(dir_id, name), answer.text
        if answer.status_code == 201:
            id = answer.json()["data"]["id"]
            self.tree.nodes[id] = Node(id, name, dir_id)

    @rule(pick=picks, name=names, content=contents, tagged=st.booleans(), right=st.booleans())
    def upload(self, pick: int, name: str, content: bytes, tagged: bool, right: bool) -> None:
        dir_id = self.folder(pick)
        headers = {"Content-MD5": md5(content if right else content + b"!")}
        answer = self.send(dir_id, name, content, tagged=tagged, headers=headers)
        expected = self.tree.creation(dir_id, name)
        assert answer.status_code == (412 if expected == 201 and not right else expected), answer.text
        if answer.status_code == 201:
            self.take_up(answer.json()["data"]["id"], name, dir_id, content, tagged=tagged)

    @rule(pick=picks, name=names)
    def upload_at_once(self, pick: int, name: str) -> None:
        dir_id = self.folder(pick)
        expected = self.tree.creation(dir_id, name)
        tries = [b"x" * (70_000 + n) for n in range(4)]
        with ThreadPoolExecutor(len(tries)) as pool:
            answers = list(pool.map(lambda content: self.send(dir_id, name, content), tries))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == ([201, 409, 409, 409] if expected == 201 else [expected] * 4)
        for content, answer in zip(tries, answers, strict=True):
            if answer.status_code == 201:
                self.take_up(answer.json()["data"]["id"], name, dir_id, content)

    @rule(pick=picks, content=contents, tagged=st.booleans(), late=st.booleans())
    def overwrite(self, pick: int, content: bytes, tagged: bool, late: bool) -> None:
        id = self.file(pick)
        if id is None:
            return
        headers = {"If-Match": "1-abc"} if late else {}
        answer = self.call(
            "PUT", f"/files/{id}", content=content, headers=headers, params={"Tags": "t"} if tagged else {}
        )
        assert answer.status_code == (412 if late else 404 if self.tree.in_trash(id) else 200), answer.text
        if answer.status_code == 200:
            self.tree.overwrite(id, content)
            self.tree.nodes[id].tagged = tagged

    @rule(pick=picks, other=picks)
    def copy(self, pick: int, other: int) -> None:
        id, dir_id = self.file(pick), self.folder(other)
        if id is None:
            return
        answer = self.call("POST", f"/files/{id}/copy", params={"DirID": dir_id})
        assert answer.status_code == (201 if self.tree.is_home(dir_id) else 404), answer.text
        if answer.status_code == 201:
            data, source = answer.json()["data"], self.tree.nodes[id]
            name = data["attributes"]["name"]
            assert name not in self.tree.children(dir_id)
            assert source.content is not None
            self.take_up(data["id"], name, dir_id, source.content, tagged=source.tagged)

    # -- changing

    @rule(pick=picks, name=names | st.none(), other=picks | st.none(), late=st.booleans())
    def rename_or_move(self, pick: int, name: str | None, other: int | None, late: bool) -> None:
        id = self.some(pick)
        if id is None:
            return
        node = self.tree.nodes[id]
        dir_id = node.dir_id if other is None else self.folder(other)
        if dir_id == TRASH and node.dir_id != TRASH:
            return  # that is a trashing
        wanted = node.name if name is None else name
        attributes = {} if name is None else {"name": name}
        if other is not None:
            attributes["dir_id"] = dir_id
        answer = self.patch(id, attributes, headers={"If-Match": "1-abc"} if late else {})
        assert answer.status_code == (412 if late else self.tree.change(id, wanted, dir_id)), answer.text
        if answer.status_code == 200:
            node.name, node.dir_id = wanted, dir_id

    @rule(pick=picks)
    def rename_the_root_or_destroy_it(self, pick: int) -> None:
        id = ROOT if pick % 2 else TRASH
        attributes: dict[str, Any] = {"name": "x"} if pick % 3 else {"permanent_delete": True}
        assert self.patch(id, attributes).status_code == 400

    @rule(pick=picks, album=st.sampled_from(["1", "2"]), removes=st.booleans())
    def refer(self, pick: int, album: str, removes: bool) -> None:
        id = self.some(pick)
        if id is None:
            return
        body = {"data": [{"id": album, "type": "io.cozy.photos.albums"}]}
        answer = self.call("DELETE" if removes else "POST", f"/files/{id}/relationships/referenced_by", json=body)
        assert answer.status_code == 200, answer.text
        references = self.tree.nodes[id].references
        references.discard(album) if removes else references.add(album)

    # -- the trash

    @rule(pick=picks)
    def trash(self, pick: int) -> None:
        id = self.some(pick)
        if id is None:
            return
        was_there, name = self.tree.in_trash(id), self.tree.nodes[id].name
        answer = self.call("DELETE", f"/files/{id}")
        assert answer.status_code == (400 if was_there else 200), answer.text
        if not was_there:
            told = answer.json()["data"]["attributes"]["name"]
            taken = name in self.tree.children(TRASH)
            assert is_marked(told, name) if taken else told == name
            self.tree.trash(id, told)

    @rule(pick=picks)
    def restore(self, pick: int) -> None:
        id = self.some(pick)
        if id is None:
            return
        was_there = self.tree.in_trash(id)
        answer = self.call("POST", f"/files/trash/{id}")
        assert answer.status_code == (200 if was_there else 400), answer.text
        if not was_there:
            return
        attributes = answer.json()["data"]["attributes"]
        wanted = without_mark(self.tree.nodes[id].name)
        dir_id = self.tree.ensure(self.tree.home_of(id))
        taken = wanted in self.tree.children(dir_id)
        assert is_marked(attributes["name"], wanted) if taken else attributes["name"] == wanted
        assert "restore_path" not in attributes
        self.tree.restore(id, dir_id, attributes["name"])
        self.look_up(id, attributes["dir_id"])

    @rule(pick=picks)
    def destroy(self, pick: int) -> None:
        id = self.some(pick)
        if id is None:
            return
        assert self.call("DELETE", f"/files/trash/{id}").status_code == 204
        self.forget(id)

    @rule(pick=picks)
    def destroy_at_once(self, pick: int) -> None:
        id = self.some(pick)
        if id is None or pick % 4:
            return
        answer = self.patch(id, {"permanent_delete": True})
        assert answer.status_code == 200, answer.text
        self.forget(id)

    @precondition(lambda self: len(self.tree.children(TRASH)) > 2)
    @rule()
    def empty_the_trash(self) -> None:
        assert self.call("DELETE", "/files/trash").status_code == 204
        for node in list(self.tree.children(TRASH).values()):
            self.forget(node.id)

    # -- versions

    @rule(pick=picks, which=picks, deletes=st.booleans())
    def revert_or_delete_a_version(self, pick: int, which: int, deletes: bool) -> None:
        with_versions = sorted(node.id for node in self.tree.nodes.values() if node.old)
        if not with_versions:
            return
        node = self.tree.nodes[with_versions[pick % len(with_versions)]]
        versions = sorted(
            self.versions(node.id), key=lambda version: version["attributes"]["cozyMetadata"]["createdAt"]
        )
        version = versions[which % len(versions)]
        old = next(old for old in node.old if md5(old) == version["attributes"]["md5sum"])
        method, path = ("DELETE", "/files/") if deletes else ("POST", "/files/revert/")
        answer = self.call(method, path + version["id"])
        assert answer.status_code == (204 if deletes else 200), answer.text
        node.old.remove(old)
        if not deletes:
            assert answer.json()["data"]["attributes"]["md5sum"] == md5(old)
            assert node.content is not None
            node.old.append(node.content)
            node.content, node.tagged = old, bool(version["attributes"]["tags"])

    # -- the server

    @rule()
    def kill_the_server(self) -> None:
        if self.household.server.lives < MOST_LIVES:
            self.household.kill()

    @invariant()
    def the_server_shows_the_same_tree(self) -> None:
        shown = self.everything()
        assert set(shown) == set(self.tree.nodes)
        for id, node in self.tree.nodes.items():
            attributes = shown[id]["attributes"]
            if id == ROOT:
                continue
            assert (attributes["name"], attributes["dir_id"]) == (node.name, node.dir_id)
            assert attributes["path"] == self.tree.path(id)
            assert attributes["type"] == ("file" if node.is_file else "directory")
            assert attributes.get("restore_path", "") == node.restore_path
            if node.content is not None:
                assert attributes["trashed"] is self.tree.in_trash(id)
                assert (attributes["md5sum"], attributes["size"]) == (md5(node.content), str(len(node.content)))
            assert referring(shown[id]) == node.references

    @invariant()
    def lists_and_sums_agree(self) -> None:
        for id, node in self.tree.nodes.items():
            if not node.is_file:
                below = {child.id for child in self.tree.children(id).values()} - {TRASH}
                assert set(self.listed(id)) == below
        used = self.call("GET", "/settings/disk-usage").json()["data"]["attributes"]
        files, versions = self.tree.usage()
        assert (used["files"], used["versions"]) == (str(files), str(versions))
        for id in self.gone[-3:]:
            assert self.call("GET", f"/files/{id}").status_code == 404

    def teardown(self) -> None:
        if not hasattr(self, "tree"):
            return
        for node in self.tree.nodes.values():
            if node.content is not None:
                assert self.call("GET", f"/files/download/{node.id}").content == node.content
                kept = sorted(version["attributes"]["md5sum"] for version in self.versions(node.id))
                assert kept == sorted(md5(old) for old in node.old)
        assert self.household.server.ask("check", "fs", self.household.domain) == ""

    # -- words

    def call(self, method: str, path: str, **rest: Any) -> httpx.Response:
        answer = self.household.http.request(method, path, **rest)
        assert answer.status_code < 500, answer.text
        return answer

    def send(self, dir_id: str, name: str, content: bytes, *, tagged: bool = False, **rest: Any) -> httpx.Response:
        params = {"Type": "file", "Name": name, **({"Tags": "t"} if tagged else {})}
        return self.call("POST", f"/files/{dir_id}", params=params, content=content, **rest)

    def patch(self, id: str, attributes: dict[str, Any], **rest: Any) -> httpx.Response:
        return self.call("PATCH", f"/files/{id}", json={"data": {"attributes": attributes}}, **rest)

    def take_up(self, id: str, name: str, dir_id: str, content: bytes, *, tagged: bool = False) -> None:
        self.tree.nodes[id] = Node(id, name, dir_id, content, tagged=tagged)

    def forget(self, id: str) -> None:
        self.gone += [*self.tree.below(id), id]
        self.tree.destroy(id)

    def own(self) -> list[str]:
        """What can be changed."""
        return sorted(set(self.tree.nodes) - {ROOT, TRASH})

    def some(self, pick: int) -> str | None:
        own = self.own()
        return own[pick % len(own)] if own else None

    def file(self, pick: int) -> str | None:
        files = sorted(node.id for node in self.tree.nodes.values() if node.is_file)
        return files[pick % len(files)] if files else None

    def folder(self, pick: int) -> str:
        """Mostly a folder, at times a file or what is gone."""
        if self.gone and pick % 11 == 0:
            return self.gone[pick % len(self.gone)]
        if pick % 13 == 0 and (file := self.file(pick)) is not None:
            return file
        return sorted(node.id for node in self.tree.nodes.values() if not node.is_file)[
            pick % sum(not node.is_file for node in self.tree.nodes.values())
        ]

    def listed(self, id: str) -> dict[str, dict[str, Any]]:
        """What a folder shows, read in small pages."""
        found: dict[str, dict[str, Any]] = {}
        path = f"/files/{id}/relationships/contents?page[limit]=3"
        while path:
            page = self.call("GET", path).json()
            assert page["meta"]["count"] >= len(page["data"])
            found |= {item["id"]: item for item in page["data"]}
            path = page["links"].get("next", "")
        return found

    def everything(self) -> dict[str, dict[str, Any]]:
        """All files and folders."""
        found = self.call("POST", "/files/_all_docs", json={}).json()["data"]
        trash = self.call("GET", f"/files/{TRASH}").json()["data"]
        return {item["id"]: item for item in [*found, trash]}

    def versions(self, id: str) -> list[dict[str, Any]]:
        return self.call("GET", f"/files/{id}").json().get("included", [])

    def look_up(self, id: str, dir_id: str) -> None:
        """Learn the ids of the folders that a restoration has made above an item."""
        while self.tree.nodes[id].dir_id.startswith(UNKNOWN):
            self.tree.learn(self.tree.nodes[id].dir_id, dir_id)
            id, dir_id = dir_id, self.call("GET", f"/files/{dir_id}").json()["data"]["attributes"]["dir_id"]
        assert self.tree.nodes[id].dir_id == dir_id


def test_random_histories_of_files(household: Household) -> None:
    Files.household = household
    run_state_machine_as_test(
        Files,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert household.server.lives > 1, "it was never killed"
    assert household.server.errors == []
