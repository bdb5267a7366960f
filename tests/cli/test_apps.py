"""Web apps by the operator's command line (spec/03 §16)."""

from __future__ import annotations

import json

from tests.api.apps_workshop import write_app

from .conftest import Operator


def test_an_app_comes_changes_and_goes(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy")
    folder = write_app(either.folder / "mini")
    source = folder.as_uri()
    assert either.ask("apps", "ls", "--domain", alice) == ""
    said = either.ask("apps", "install", "mini", source, "--domain", alice)
    assert said.startswith("mini (1.2.3-")
    assert said.endswith(f") has been installed on {alice}")
    assert "already exists" in either.refused("apps", "install", "mini", source, "--domain", alice)
    slug, where, version, state = either.ask("apps", "ls", "--domain", alice).split()
    assert (slug, where, state) == ("mini", source, "ready")
    assert json.loads(either.ask("apps", "show", "mini", "--domain", alice))["version"] == version
    assert json.loads(either.ask("apps", "ls", "--json", "--domain", alice))["slug"] == "mini"

    same = either.ask("apps", "update", "mini", "--domain", alice)
    assert same == f"mini is already up-to-date at {version}"
    write_app(folder, files={}, version="1.10.0")
    assert either.ask("apps", "update", "mini", "--domain", alice).startswith("mini has been upgraded to 1.10.0-")
    write_app(folder, files={}, version="1.9.0")
    assert either.ask("apps", "update", "mini", "--domain", alice).startswith("mini has been downgraded to 1.9.0-")

    assert either.ask("apps", "uninstall", "mini", "--domain", alice) == "mini has been uninstalled"
    assert "not installed" in either.refused("apps", "uninstall", "mini", "--domain", alice)
    assert "not installed" in either.refused("apps", "show", "mini", "--domain", alice)


def test_what_cannot_be_installed_is_refused_with_advice(either: Operator) -> None:
    alice = either.domain("alice")
    either.ask("instances", "add", alice, "--passphrase", "cozy")
    assert "registry" in either.refused("apps", "install", "drive", "--domain", alice)
    assert "file:///folder" in either.refused("apps", "install", "drive", "nonsense", "--domain", alice)
    assert "manifest.webapp" in either.refused("apps", "install", "drive", ".", "--domain", alice)
    either.refused("apps", "install", "drive", "file:///x", code=2)
    assert either.ask("apps", "ls", "--domain", alice) == ""


def test_all_instances_at_once(either: Operator) -> None:
    names = [either.domain("alice"), either.domain("bob")]
    for name in names:
        either.ask("instances", "add", name, "--passphrase", "cozy")
    write_app(either.folder / "mini")
    said = either.ask("apps", "install", "mini", "./mini", "--all-domains")
    assert all(f"has been installed on {name}" in said for name in names)
    either.ask("apps", "uninstall", "mini", "--domain", names[0])
    write_app(either.folder / "mini", files={}, version="2")
    assert either.ask("apps", "update", "mini", "--all-domains").count("upgraded") == 1


def test_an_instance_without_its_apps_is_still_made(operator: Operator) -> None:
    alice = operator.domain("alice")
    done = operator.run("instances", "add", alice, "--passphrase", "cozy", "--apps", "drive,photos")
    assert done.returncode == 0
    assert b"/!\\ Application drive has not been installed" in done.stderr
    assert b"/!\\ Application photos has not been installed" in done.stderr
