"""Documents, feature flags, tools, fixes and checks of an instance on the command line (spec/10 §3, spec/03 §16)."""

from __future__ import annotations

import json

from .conftest import Operator

TESTS = "io.cozy.tests"


def test_a_document_is_written_shown_found_and_listed(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy")
    there = ("--domain", alice)
    id, rev = either.ask("documents", "put", TESTS, "one", '{"n": 1}', *there).split()
    assert id == "one"
    changed = json.dumps({"n": 2, "_rev": rev})
    newer = json.loads(either.ask("documents", "put", TESTS, "one", changed, "--json", *there))
    assert newer["rev"].startswith("2-")
    assert json.loads(either.ask("documents", "get", TESTS, "one", *there))["n"] == 2
    either.ask("documents", "put", TESTS, '{"n": 3}', *there)
    found = [
        json.loads(line) for line in either.ask("documents", "find", TESTS, '{"n": {"$gt": 2}}', *there).splitlines()
    ]
    assert [document["n"] for document in found] == [3]
    listed = [json.loads(line) for line in either.ask("documents", "ls", TESTS, "--json", *there).splitlines()]
    assert {document["n"] for document in listed} == {2, 3}
    counts = dict(line.split() for line in either.ask("documents", "ls", *there).splitlines())
    assert counts[TESTS] == "2"


def test_documents_are_not_overwritten_blindly_nor_behind_the_back_of_the_server(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy")
    there = ("--domain", alice)
    either.ask("documents", "put", TESTS, "one", '{"n": 1}', *there)
    either.refused("documents", "put", TESTS, "one", '{"n": 2}', *there)
    either.refused("documents", "put", "io.cozy.files", "x", "{}", *there)
    either.refused("documents", "get", "io.cozy.sharings", "x", *there)
    either.refused("documents", "get", TESTS, "nothing", *there)
    assert json.loads(either.ask("documents", "get", TESTS, "one", *there))["n"] == 1


def test_feature_flags_are_set_shown_and_taken_away(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy")
    assert either.ask("features", "flags", '{"b": true, "a": [1]}', "--domain", alice) == "- a: [1]\n- b: true"
    assert json.loads(either.ask("features", "flags", '{"a": null}', "--json", "--domain", alice)) == {"b": True}
    either.refused("features", "flags", "no json", "--domain", alice)


def test_what_is_well_needs_no_mending(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy")
    either.ask("documents", "put", TESTS, "one", "{}", "--domain", alice)
    assert either.ask("fix", "password-defined", alice) == "password_defined is true"
    assert either.ask("fix", "mime", alice) == "0 files were mended"
    assert either.ask("fix", "thumbnails", alice) == "0 files got their thumbnails"
    assert either.ask("check", "sharings", alice) == ""
    assert either.ask("check", "triggers", alice) == ""
    assert "no sharing nothing" in either.refused("tools", "unxor-document-id", alice, "nothing", "abc")
