"""The rules of a sharing (spec/04 §3; spec/05 §6, §7.1)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel import rules
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.rules import FILES, SharingRule, validate
from inglenook.kernel.xor import make_key, xor_id

TESTS = "io.cozy.tests"
KEY = make_key(bytes.fromhex("3a5c9f0177e2b48d"))
ALBUM = "io.cozy.photos.albums/9a8b"


def rule(doctype: str = TESTS, *values: str, **others: Any) -> SharingRule:
    return SharingRule(title="Shared", doctype=doctype, values=list(values or ("a",)), **others)


def files(*values: str, **others: Any) -> SharingRule:
    return rule(FILES, *(values or ("root",)), **others)


# -- validity


def test_a_valid_rule_is_written_with_all_that_the_wire_always_has() -> None:
    (valid,) = validate([rule(update="Sync", remove="REVOKE")])
    assert msgspec.to_builtins(valid) == {
        "title": "Shared",
        "doctype": TESTS,
        "values": ["a"],
        "add": "none",
        "update": "sync",
        "remove": "revoke",
    }


def test_a_stored_rule_is_read_and_written_unchanged() -> None:
    stored = {"title": "t", "doctype": FILES, "mime": "text/plain", "selector": "id", "values": ["x"], "local": True,
              "add": "push", "update": "none", "remove": "sync"}  # fmt: skip
    assert msgspec.to_builtins(msgspec.convert(stored, SharingRule)) == stored


def test_a_sharing_needs_rules() -> None:
    with pytest.raises(BadRequest, match="A sharing must have rules"):
        validate([])


@pytest.mark.parametrize(
    "bad",
    [
        SharingRule(doctype=TESTS, values=["a"]),
        SharingRule(title="t", doctype=TESTS),
        SharingRule(title="t", values=["a"]),
        rule(TESTS, ""),
        rule("io.cozy.*"),
        rule("Io.Cozy"),
        rule("io.cozy.sharings"),
        rule("io.cozy.jobs"),
        rule("io.cozy.files.versions"),
        rule(add="revoke"),
        rule(update="revoke"),
        rule(remove="delete"),
        files("a", "b"),
        files("io.cozy.files.root-dir"),
        files("io.cozy.files.trash-dir"),
        files("x/y", "io.cozy.files.shared-with-me-dir", selector="referenced_by"),
        files("9a8b", selector="referenced_by"),
        files("/9a8b", selector="referenced_by"),
        files("album/", selector="referenced_by"),
    ],
)
def test_an_invalid_rule_is_refused(bad: SharingRule) -> None:
    with pytest.raises(BadRequest, match="A rule is invalid"):
        validate([rule(), bad])


@pytest.mark.parametrize(
    "good",
    [
        rule("com.bitwarden.organizations"),
        rule("com.bitwarden.ciphers", "a", "b", selector="organization_id"),
        rule(TESTS, "a", "b"),
        files(ALBUM, "x/y", selector="referenced_by"),
        files("a", "b", selector="class"),
    ],
)
def test_a_valid_rule_is_accepted(good: SharingRule) -> None:
    assert validate([good])


# -- what a rule says


def test_a_sharing_is_read_only_without_any_sync() -> None:
    assert rules.read_only([rule(add="push", update="push", remove="revoke"), rule()])
    assert not rules.read_only([rule(add="push"), rule(remove="sync")])


@pytest.mark.parametrize(
    ("behaviours", "followed"),
    [
        ({}, "CREATED"),
        ({"update": "none", "remove": "none", "add": "sync"}, "CREATED"),
        ({"update": "push"}, "CREATED UPDATED"),
        ({"update": "sync", "remove": "sync"}, "CREATED UPDATED DELETED"),
        ({"remove": "revoke"}, "CREATED DELETED"),
    ],
)
def test_the_behaviours_say_which_changes_are_followed(behaviours: dict[str, str], followed: str) -> None:
    verbs = [verb for verb in ("CREATED", "UPDATED", "DELETED") if rules.follows(rule(**behaviours), verb)]
    assert verbs == followed.split()


def test_values_are_rewritten_for_the_recipient() -> None:
    for selector in ("", "id", "_id", "organization_id"):
        assert rules.values_for_recipient(rule(TESTS, "abc", selector=selector), KEY) == [xor_id("abc", KEY)]
    albums = files(ALBUM, selector="referenced_by")
    assert rules.values_for_recipient(albums, KEY) == ["io.cozy.photos.albums/" + xor_id("9a8b", KEY)]
    assert rules.values_for_recipient(rule(TESTS, "abc", selector="kind"), KEY) == ["abc"]


# -- which documents


def test_documents_are_chosen_by_id_or_field() -> None:
    assert rules.selects(rule(TESTS, "a"), "a", {})
    assert not rules.selects(rule(TESTS, "a"), "b", {"id": "a"})
    deep = rule(TESTS, "x", selector="meta.kind")
    assert rules.selects(deep, "1", {"meta": {"kind": "x"}})
    assert rules.selects(deep, "1", {"meta": {"kind": ["y", "x"]}})
    for body in ({}, {"meta": "x"}, {"meta": {"kind": 1}}, {"meta": {"kind": None}}, {"meta.kind": "x"}):
        assert not rules.selects(deep, "1", body)


def test_a_new_document_is_accepted_by_the_first_rule_that_is_not_local() -> None:
    local, first, second = rule(TESTS, "a", local=True), rule(TESTS, "a"), rule(TESTS, "a")
    assert rules.rule_for_document([local, first, second], TESTS, "a", {}) is first
    assert rules.rule_for_document([local], TESTS, "a", {}) is None
    assert rules.rule_for_document([first], "io.cozy.other", "a", {}) is None


def refs(*entries: str) -> list[dict[str, str]]:
    return [{"type": type_, "id": id} for type_, _, id in (entry.partition("/") for entry in entries)]


def test_a_new_file_is_accepted_by_folder_or_when_all_its_references_are_shared() -> None:
    album, folder = files(ALBUM, selector="referenced_by"), files("root")
    assert rules.rule_for_file([files("x", local=True), folder], {}) is folder
    assert rules.rule_for_file([album], {}) is None
    assert rules.rule_for_file([album], {"referenced_by": refs(ALBUM)}) is album
    assert rules.rule_for_file([album], {"referenced_by": refs(ALBUM, "other/1")}) is None
    assert rules.rule_for_file([rule(TESTS)], {}) is None


# -- files in the tree

FILE = {"type": "file", "dir_id": "sub"}
FOLDER = {"type": "directory", "path": "/Plans/Sub"}


def path_of(id: str) -> str | None:
    return {"root": "/Plans", "top": "/"}.get(id)


def test_what_is_below_the_shared_folder_is_shared_but_not_the_folder() -> None:
    shared = files("root")
    assert rules.selects_file(shared, "f", FILE, "/Plans/a.txt", path_of)
    assert rules.selects_file(shared, "d", FOLDER, "/Plans/Sub", path_of)
    assert not rules.selects_file(shared, "root", FOLDER, "/Plans", path_of)
    assert rules.is_root(shared, "root", FOLDER)
    assert not rules.selects_file(shared, "d", FOLDER, "/Plans2/Sub", path_of)
    assert not rules.selects_file(files("gone"), "d", FOLDER, "/Plans/Sub", path_of)


def test_a_single_file_is_shared_itself() -> None:
    assert rules.selects_file(files("f"), "f", FILE, "/a.txt", path_of)
    assert not rules.is_root(files("f"), "f", FILE)


def test_nothing_in_the_trash_is_shared() -> None:
    assert not rules.selects_file(files("f"), "f", {**FILE, "trashed": True}, "/.cozy_trash/a", path_of)
    assert not rules.selects_file(files("d"), "e", FOLDER, "/.cozy_trash/d/e", lambda _: "/.cozy_trash/d")
    assert rules.selects_file(files("d"), "e", FOLDER, "/.cozy_trash2/e", lambda _: "/.cozy_trash2")


def test_an_album_shares_its_files_and_no_folders() -> None:
    album = files(ALBUM, selector="referenced_by")
    assert rules.selects_file(album, "f", {**FILE, "referenced_by": refs("x/y", ALBUM)}, "/a", path_of)
    assert not rules.selects_file(album, "f", FILE, "/a", path_of)
    assert not rules.selects_file(album, "d", {**FOLDER, "referenced_by": refs(ALBUM)}, "/d", path_of)
    assert not rules.is_root(album, ALBUM, FOLDER)


def test_a_file_moved_out_is_no_longer_shared() -> None:
    def gone(rule: SharingRule, old: dict[str, Any] | None, new: dict[str, Any], path: str, id: str = "f") -> bool:
        return rules.no_longer_shared(rule, FILES, id, old, new, path, path_of)

    moved = {**FILE, "dir_id": "elsewhere"}
    assert gone(files("root"), FILE, moved, "/Else/a.txt")
    assert not gone(files("root"), FILE, moved, "/Plans/Deep/a.txt")
    assert not gone(files("root"), None, moved, "/Else/a.txt")
    assert not gone(files("root"), FILE, {**FILE, "name": "b"}, "/Else/a.txt"), "it has not moved"
    assert not gone(files("f"), FILE, moved, "/Else/a.txt"), "it is the shared file"
    assert gone(files("root"), FOLDER, {**FOLDER, "path": "/Else/Sub"}, "/Else/Sub", "d")
    assert not gone(files("root"), {**FOLDER, "path": "/Plans"}, {**FOLDER, "path": "/New"}, "/New", "root")
    album = files(ALBUM, selector="referenced_by")
    assert gone(album, {**FILE, "referenced_by": refs(ALBUM)}, FILE, "/a")
    assert not gone(album, {**FILE, "referenced_by": refs(ALBUM, "x/y")}, {**FILE, "referenced_by": refs(ALBUM)}, "/a")


def test_a_password_that_leaves_its_organization_is_no_longer_shared() -> None:
    def gone(rule: SharingRule, doctype: str, new: dict[str, Any]) -> bool:
        return rules.no_longer_shared(rule, doctype, "c", {"organization_id": "o"}, new, "", path_of)

    ciphers = "com.bitwarden.ciphers"
    by_organization = rule(ciphers, "o", selector="organization_id")
    assert gone(by_organization, ciphers, {"organization_id": "p"})
    assert gone(by_organization, ciphers, {})
    assert not gone(by_organization, ciphers, {"organization_id": "o"})
    assert not gone(rule(TESTS, "x", selector="organization_id"), TESTS, {})


ids = st.text("0123456789abcdef", min_size=1, max_size=32)


@given(st.lists(ids, min_size=1, max_size=3), st.binary(min_size=8, max_size=8))
def test_both_sides_choose_corresponding_documents(ids: list[str], seed: bytes) -> None:
    key = make_key(seed)
    mine = rule(TESTS, *ids)
    yours = rule(TESTS, *rules.values_for_recipient(mine, key))
    for id in [*ids, "0", "ff"]:
        assert rules.selects(mine, id, {}) == rules.selects(yours, xor_id(id, key), {})
    assert rules.values_for_recipient(yours, key) == ids
