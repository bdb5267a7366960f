"""Rules, scopes, checks and subsets (spec/03 §7.7, §10; spec/02 §10; spec/01 §1.2-1.4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadCredentials, Forbidden
from inglenook.kernel.permissions import (
    MAXIMAL,
    ROOT_DIR,
    VERBS,
    FileFacts,
    PermissionSet,
    Permit,
    Rule,
    linked_app,
    parse_rule,
    parse_rules,
    parse_scope,
)

TESTS = "io.cozy.tests"


def granted(*rules: Rule) -> PermissionSet:
    return PermissionSet(rules)


# -- doctypes


@pytest.mark.parametrize("name", ["io.cozy.tests", "a", "io.cozy_2.x", "0.1"])
def test_well_formed_doctypes(name: str) -> None:
    doctypes.check_writable(name)


@pytest.mark.parametrize("name", ["", ".a", "a.", "a..b", "io.Cozy", "a/b", "a-b", "é", "io.cozy.*", "a\n"])
def test_malformed_doctypes_are_refused_by_name(name: str) -> None:
    with pytest.raises(Forbidden) as caught:
        doctypes.check_readable(name)
    assert caught.value.detail == f"{name} is not a valid doctype name"


def test_reserved_doctypes_are_refused_with_the_words_that_clients_look_for() -> None:
    for check, word in ((doctypes.check_readable, "unreadable"), (doctypes.check_writable, "unwritable")):
        with pytest.raises(Forbidden, match=f"reserved doctype io.cozy.sharings {word}"):
            check("io.cozy.sharings")
    doctypes.check_readable("io.cozy.files")
    with pytest.raises(Forbidden):
        doctypes.check_writable("io.cozy.files")
    assert doctypes.is_writable("com.bitwarden.ciphers")


# -- reading and writing rules


def test_rules_are_read_and_written_in_order() -> None:
    stored = {
        "zebra": {"type": TESTS, "verbs": ["GET", "POST"], "values": ["a"]},
        "apple": {"type": "io.cozy.files", "description": "Work", "selector": "mime", "values": ["image/png"]},
    }
    rules = parse_rules(stored)
    assert rules.to_json() == stored
    assert list(rules.to_json()) == ["zebra", "apple"]


def test_verbs_come_out_in_their_fixed_order() -> None:
    assert parse_rule("r", {"type": TESTS, "verbs": ["DELETE", "GET", "GET"]}).to_json()["verbs"] == ["GET", "DELETE"]
    assert parse_rule("r", {"type": TESTS, "verbs": list(reversed(VERBS))}).to_json()["verbs"] == list(VERBS)


@pytest.mark.parametrize("verbs", [None, [], ["ALL"], ["GET", "ALL"]])
def test_no_verbs_or_all_is_every_verb_and_is_not_written(verbs: object) -> None:
    rule = parse_rule("r", {"type": TESTS, "verbs": verbs})
    assert all(rule.has_verb(verb) for verb in VERBS)
    assert rule.to_json() == {"type": TESTS}


def test_a_bad_verb_or_member_is_malformed() -> None:
    for rule in (
        {"type": TESTS, "verbs": ["SHOUT"]},
        {"type": TESTS, "verbs": ["get"]},
        {"type": TESTS, "values": "a"},
        {"type": TESTS, "values": [1]},
        {"type": 1},
        [],
        None,
    ):
        with pytest.raises(BadCredentials, match="malformed"):
            parse_rule("r", rule)
    with pytest.raises(BadCredentials):
        parse_rules([])


@pytest.mark.parametrize("type_", ["", ".io.cozy", "io..cozy", "Io.Cozy", "io.cozy.*", "io.cozy.*.a", "**", "*.a"])
def test_a_bad_type_is_forbidden_in_a_rule_and_malformed_in_a_scope(type_: str) -> None:
    with pytest.raises(Forbidden, match="not a valid doctype name"):
        parse_rule("r", {"type": type_})
    with pytest.raises(BadCredentials, match="malformed"):
        parse_scope(type_)


def test_a_scope_names_types_verbs_values_and_a_selector() -> None:
    rules = parse_scope("io.cozy.files:GET,POST:io.cozy.photos.albums/42:referenced_by io.cozy.contacts").rules
    assert rules == (
        Rule("io.cozy.files", ("GET", "POST"), "referenced_by", ("io.cozy.photos.albums/42",)),
        Rule("io.cozy.contacts"),
    )
    assert parse_scope("io.cozy.sharings:ALL:s1").to_json() == {
        "rule0": {"type": "io.cozy.sharings", "verbs": list(VERBS), "values": ["s1"]}
    }
    assert parse_scope("io.cozy.tests:SHOUT").allows_type("GET", TESTS) is False


@pytest.mark.parametrize("scope", ["", " ", "a:", "a::x", "a:GET:", "a:GET:x:", "a:GET:x:y:z", "a:GET:x,", "* a"])
def test_a_malformed_scope_never_widens(scope: str) -> None:
    with pytest.raises(BadCredentials):
        parse_scope(scope)


def test_scopes_are_written_back() -> None:
    for text in ("a:ALL", "io.cozy.files:GET,POST:x,y:mime io.cozy.tests:GET:a", "*"):
        assert parse_scope(text).to_scope() == text
    assert parse_scope("a").to_scope() == "a:ALL"
    assert parse_scope("a:POST,GET").to_scope() == "a:GET,POST"


def test_linked_apps_are_recognised() -> None:
    assert linked_app("@io.cozy.apps/drive") == "drive"
    assert linked_app("@io.cozy.apps/") is None
    assert linked_app("io.cozy.apps") is None


# -- checks


def test_types_match_exactly_by_star_or_by_wildcard() -> None:
    bank = granted(Rule("io.cozy.bank.*"))
    assert bank.allows_type("GET", "io.cozy.bank")
    assert bank.allows_type("GET", "io.cozy.bank.accounts")
    assert not bank.allows_type("GET", "io.cozy.bankers")
    assert not granted(Rule("io.cozy")).allows_type("GET", "io.cozy.files")
    assert MAXIMAL.allows_type("DELETE", "anything")


def test_values_limit_a_rule_to_documents() -> None:
    by_id = granted(Rule(TESTS, ("GET",), values=("a",)))
    assert not by_id.allows_type("GET", TESTS)
    assert by_id.allows_id("GET", TESTS, "a")
    assert not by_id.allows_id("GET", TESTS, "b")
    assert not by_id.allows_id("POST", TESTS, "a")
    by_field = granted(Rule(TESTS, selector="kind", values=("x", "true", "3")))
    assert not by_field.allows_id("GET", TESTS, "x")
    for value in ("x", True, 3, 3.0, ["x"]):
        assert by_field.allows_document("GET", TESTS, "1", {"kind": value})
    for value in ("y", False, 4, None, [["x"]], {"x": "x"}):
        assert not by_field.allows_document("GET", TESTS, "1", {"kind": value})
    assert not by_field.allows_document("GET", TESTS, "x", {})


def test_a_reference_is_compared_as_type_and_id() -> None:
    album = granted(Rule(TESTS, selector="referenced_by", values=("io.cozy.photos.albums/42",)))
    assert album.allows_document("GET", TESTS, "1", {"referenced_by": [{"type": "io.cozy.photos.albums", "id": "42"}]})
    assert not album.allows_document("GET", TESTS, "1", {"referenced_by": [{"type": "x", "id": "42"}]})


def test_the_fields_check_is_not_passed_by_whole_types() -> None:
    body = {"worker": "service"}
    assert granted(Rule(TESTS, selector="worker", values=("service",))).allows_fields("GET", TESTS, ["worker"], body)
    assert not granted(Rule(TESTS, selector="worker", values=("other",))).allows_fields("GET", TESTS, ["worker"], body)
    assert not granted(Rule(TESTS)).allows_fields("GET", TESTS, ["worker"], body)
    assert not MAXIMAL.allows_fields("GET", TESTS, ["worker"], body)


def test_a_permit_requires_or_forbids() -> None:
    permit = Permit(kind="oauth", rules=(Rule(TESTS, ("GET",), values=("a",)),))
    permit.require_id("GET", TESTS, "a")
    permit.require_document("GET", TESTS, "a", {})
    for refused in (
        lambda: permit.require_type("GET", TESTS),
        lambda: permit.require_id("PUT", TESTS, "a"),
        lambda: permit.require_document("GET", TESTS, "b", {}),
        lambda: permit.require_fields("GET", TESTS, ["x"], {}),
        lambda: permit.require_file("GET", folder("d"), list),
        lambda: permit.require_any_directory(),
        lambda: permit.require_maximal(),
    ):
        with pytest.raises(Forbidden, match="Forbidden"):
            refused()


# -- files


def folder(id: str, parent: str = ROOT_DIR, **facts: Any) -> FileFacts:
    return FileFacts(id=id, dir_id=parent, type="directory", name=id, **facts)


def file(id: str, parent: str, **facts: Any) -> FileFacts:
    return FileFacts(id=id, dir_id=parent, type="file", name=id + ".txt", **facts)


ROOT = FileFacts(id=ROOT_DIR, dir_id="", type="directory", name="")
DEEP = file("f", "sub")
ABOVE = [folder("sub", "top", tags=("work",), referenced_by=(("io.cozy.photos.albums", "42"),)), folder("top"), ROOT]


def files(**rule: Any) -> PermissionSet:
    return granted(Rule("io.cozy.files", **rule))


@pytest.mark.parametrize("ids", [("f",), ("sub",), ("top",), (ROOT_DIR,), ("no", "top")])
def test_an_id_opens_the_document_and_all_below_it(ids: tuple[str, ...]) -> None:
    assert files(values=ids).allows_file("GET", DEEP, lambda: ABOVE)


def test_another_folder_opens_nothing() -> None:
    assert not files(values=("other", "")).allows_file("GET", DEEP, lambda: ABOVE)
    assert not files(values=("f",)).allows_file("GET", folder("top"), lambda: [ROOT])
    assert not files(values=("",)).allows_file("GET", file("", "sub"), lambda: ABOVE)


def test_selectors_are_inherited_but_for_mime_and_class() -> None:
    text = file("f", "sub", mime="text/plain", class_="text")
    assert files(selector="mime", values=("text/plain",)).allows_file("GET", text, lambda: ABOVE)
    assert files(selector="class", values=("text",)).allows_file("GET", text, lambda: ABOVE)
    assert files(selector="tags", values=("work",)).allows_file("GET", text, lambda: ABOVE)
    assert files(selector="name", values=("top",)).allows_file("GET", text, lambda: ABOVE)
    assert not files(selector="mime", values=("image/png",)).allows_file("GET", text, lambda: ABOVE)
    assert not files(selector="name", values=("",)).allows_file("GET", text, lambda: ABOVE), "the root is no ancestor"


def test_an_album_covers_its_files_but_not_what_is_below_a_folder_in_it() -> None:
    album = (("io.cozy.photos.albums", "42"),)
    named = files(selector="referenced_by", values=("io.cozy.photos.albums/42",))
    bare = files(selector="referenced_by", values=("42",))
    assert named.allows_file("GET", file("p", "x", referenced_by=album), lambda: [folder("x"), ROOT])
    assert bare.allows_file("GET", file("p", "x", referenced_by=album), lambda: [folder("x"), ROOT])
    assert not named.allows_file("GET", DEEP, lambda: ABOVE)
    assert bare.allows_file("GET", DEEP, lambda: ABOVE)


def test_every_rule_is_tried_on_every_ancestor() -> None:
    rules = granted(
        Rule("io.cozy.files", selector="tags", values=("a",)),
        Rule("io.cozy.files", selector="tags", values=("b",)),
        Rule("io.cozy.files", selector="tags", values=("c",)),
    )
    for tag in "abc":
        above = [folder("x", "y", tags=(tag,)), folder("y"), ROOT]
        assert rules.allows_file("GET", file("f", "x"), lambda above=above: above)


def test_ancestors_are_asked_only_when_needed() -> None:
    def never() -> list[FileFacts]:
        raise AssertionError("not needed")

    assert files().allows_file("GET", DEEP, never)
    assert MAXIMAL.allows_file("GET", DEEP, never)
    assert not files(verbs=("POST",)).allows_file("GET", DEEP, never)
    assert not files(selector="mime", values=("x/y",)).allows_file("GET", DEEP, never)


def test_any_directory_needs_a_files_rule_with_post() -> None:
    assert files(verbs=("POST",), values=("d",)).allows_any_directory()
    assert not files(verbs=("GET",)).allows_any_directory()


# -- subsets


@pytest.mark.parametrize(
    ("scope", "rule", "allowed"),
    [
        ("io.cozy.files", {"type": "io.cozy.files", "verbs": ["GET"]}, True),
        ("io.cozy.files", {"type": "io.cozy.files", "verbs": ["GET"], "values": ["a"]}, True),
        ("io.cozy.files", {"type": "io.cozy.files", "selector": "mime", "values": ["image/png"]}, True),
        ("io.cozy.files:GET", {"type": "io.cozy.files", "verbs": ["GET", "POST"]}, False),
        ("io.cozy.files:GET", {"type": "io.cozy.files"}, False),
        ("io.cozy.files:GET", {"type": TESTS, "verbs": ["GET"]}, False),
        ("io.cozy.tests:GET:a,b", {"type": TESTS, "verbs": ["GET"], "values": ["a"]}, True),
        ("io.cozy.tests:GET:a,b", {"type": TESTS, "verbs": ["GET"], "values": ["a", "c"]}, False),
        ("io.cozy.tests:GET:a,b", {"type": TESTS, "verbs": ["GET"]}, False),
        ("io.cozy.tests:GET:a:f", {"type": TESTS, "verbs": ["GET"], "values": ["a"], "selector": "f"}, True),
        ("io.cozy.tests:GET:a:f", {"type": TESTS, "verbs": ["GET"], "selector": "f"}, False),
        ("io.cozy.tests:GET:a:f", {"type": TESTS, "verbs": ["GET"], "values": ["a"]}, False),
        ("io.cozy.tests.*", {"type": "io.cozy.tests.sub"}, True),
        ("io.cozy.tests.*", {"type": "io.cozy.tests.sub.*"}, True),
        ("io.cozy.tests.*", {"type": "io.cozy.testsother"}, False),
        ("io.cozy.tests", {"type": "io.cozy.tests.*"}, False),
        ("*", {"type": TESTS}, True),
        ("*", {"type": "*"}, False),
        ("io.cozy.files", {"type": "*"}, False),
    ],
)
def test_a_child_never_gets_more_than_its_parent(scope: str, rule: dict[str, Any], allowed: bool) -> None:
    assert parse_scope(scope).includes(parse_rules({"r": rule})) is allowed


def test_a_drive_member_is_compared_by_types_and_verbs() -> None:
    parent = granted(Rule("io.cozy.files", ("GET", "POST"), values=("root",)))
    assert parent.includes_types_and_verbs(granted(Rule("io.cozy.files", ("GET",), values=("below",))))
    assert not parent.includes_types_and_verbs(granted(Rule("io.cozy.files", values=("below",))))
    assert not MAXIMAL.includes_types_and_verbs(MAXIMAL)


types = st.sampled_from(["a.b.c", "a.b.c.d", "a.b.c.*", "a.b.cd", "io.cozy.files"])
rules = st.builds(
    Rule,
    type=types,
    verbs=st.lists(st.sampled_from(VERBS), max_size=2, unique=True).map(tuple),
    selector=st.sampled_from(["", "", "tags", "name"]),
    values=st.lists(st.sampled_from("xyz"), max_size=2, unique=True).map(tuple),
)
sets = st.builds(PermissionSet, st.lists(rules, min_size=1, max_size=3).map(tuple))


@given(sets, sets)
def test_what_a_subset_allows_its_parent_allows(parent: PermissionSet, child: PermissionSet) -> None:
    if not parent.includes(child):
        return
    for verb in VERBS:
        for doctype in ("a.b.c", "a.b.c.d", "a.b.c.e.f", "a.b.cd", "io.cozy.files"):
            assert parent.allows_type(verb, doctype) or not child.allows_type(verb, doctype)
            for id in "xyz":
                assert parent.allows_id(verb, doctype, id) or not child.allows_id(verb, doctype, id)
                for body in ({}, {"tags": ["x"]}, {"name": "y"}):
                    mine, yours = (s.allows_document(verb, doctype, id, body) for s in (parent, child))
                    assert mine or not yours
        for facts in (file("x", "q"), file("q", "y"), file("q", "q", tags=("x",)), FileFacts("", "q", "file", "z")):
            mine, yours = (s.allows_file(verb, facts, lambda: [folder("q", "z", tags=("y",))]) for s in (parent, child))
            assert mine or not yours


@given(sets)
def test_inclusion_is_reflexive_for_plain_rules(some: PermissionSet) -> None:
    odd = any(rule.selector and not rule.values for rule in some.rules)
    assert odd or some.includes(some)


@given(st.lists(rules, min_size=1, max_size=4))
def test_scopes_survive_a_round_trip(some: list[Rule]) -> None:
    plain = PermissionSet(tuple(rule for rule in some if rule.values or not rule.selector))
    if plain.rules:
        again = parse_scope(plain.to_scope())
        assert again.to_scope() == plain.to_scope()
        for mine, yours in zip(again.rules, plain.rules, strict=True):
            assert (mine.type, mine.selector, mine.values) == (yours.type, yours.selector, yours.values)
            assert set(mine.verbs or VERBS) == set(yours.verbs or VERBS)
