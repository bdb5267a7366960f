"""Instances: how they come, are found by host, change and go (spec/03 §1, §4)."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import Person, RunningServer

from inglenook.identity import commands
from inglenook.identity.creation import CONTACTS, DATABASES, Wish
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import Conflict, InvalidParameter, NotFound


def create(server: RunningServer, domain: str, **wish: Any) -> Instance:
    return server.do(lambda runtime: commands.create_instance(runtime.instances, domain, Wish(**wish)))


def modify(server: RunningServer, instance: Instance, **wish: Any) -> None:
    server.do(lambda _: commands.modify_instance(instance, Wish(**wish)))


def reached(server: RunningServer, host: str) -> int:
    """The status that a host answers with."""
    return httpx.get(f"{server.origin}/connection_check", headers={"Host": host}, trust_env=False).status_code


def test_a_new_instance_has_its_first_documents(server: RunningServer) -> None:
    domain = f"first.localhost:{server.port}"
    instance = create(server, domain, email="f@example.com", public_name="First", settings={"theme": "dark"})
    assert instance.prefix == "cozy" + hashlib.sha256(domain.encode()).hexdigest()[:32]
    assert len(instance.doc.session_secret) == 64
    assert len(instance.doc.oauth_secret) == len(instance.doc.cli_secret) == 128

    def look(view: Any) -> Any:
        return view.doctypes(), [document.body for document in view.all_docs(CONTACTS)]

    doctypes, contacts = server.do(lambda _: instance.store.read(look))
    assert set(DATABASES) <= set(doctypes)
    assert contacts == [
        {
            "me": True, "email": [{"address": "f@example.com", "primary": True}], "fullname": "First",
            "displayName": "First", "cozy": [{"url": f"http://{domain}", "primary": True}],
            "indexes": {"byFamilyNameGivenNameEmailCozyUrl": "f@example.com"},
        }
    ]  # fmt: skip
    settings = server.do(lambda _: instance.settings())
    assert {name: value for name, value in settings.items() if name[0] != "_"} == {
        "theme": "dark", "email": "f@example.com", "public_name": "First",
    }  # fmt: skip


def test_nothing_secret_is_shown_in_lists(server: RunningServer, alice: Person) -> None:
    public = alice.instance.doc.public()
    assert public["domain"] == alice.domain
    assert not {name for name in public if "secret" in name or "hash" in name or "token" in name}


@pytest.mark.parametrize("domain", ["", ".", "..", ".x", "a b", "a/b", "a;b", "a@b", "a\tb", "a'b", "a=b", "a#b"])
def test_an_impossible_domain_is_refused(server: RunningServer, domain: str) -> None:
    with pytest.raises(InvalidParameter):
        create(server, domain)


def test_a_domain_is_normalised_and_taken_once(server: RunningServer) -> None:
    made = create(server, f" Taken.LOCALHOST:{server.port} ", domain_aliases=[f"other-name.localhost:{server.port}"])
    assert made.domain == f"taken.localhost:{server.port}"
    for name in (made.domain, *made.doc.domain_aliases):
        with pytest.raises(Conflict):
            create(server, name)
    with pytest.raises(Conflict):
        create(server, f"third.localhost:{server.port}", domain_aliases=[made.domain])
    with pytest.raises(NotFound):
        server.do(lambda runtime: runtime.instances.get(f"third.localhost:{server.port}"))


def test_hosts_lead_to_instances_apps_or_nowhere(server: RunningServer, alice: Person) -> None:
    instance = create(server, f"host.localhost:{server.port}", domain_aliases=[f"alias.localhost:{server.port}"])
    find = server.runtime.instances.by_host

    def match(host: str) -> Any:
        return server.do(lambda _: find(host))

    assert match(instance.domain).instance is instance
    assert match(instance.domain.upper()).instance is instance
    assert match(f"alias.localhost:{server.port}").domain == f"alias.localhost:{server.port}"
    app = match(f"drive.host.localhost:{server.port}")
    assert (app.instance, app.slug) == (instance, "drive")
    for unknown in (
        f"x.y.host.localhost:{server.port}",
        "host.localhost",
        "",
        "localhost",
        f"nobody.localhost:{server.port}",
    ):
        assert match(unknown) is None
        assert reached(server, unknown or "nobody") == 404


def test_a_former_name_leads_to_the_new_one(server: RunningServer) -> None:
    instance = create(server, f"newname.localhost:{server.port}")
    former = f"oldname.localhost:{server.port}"
    assert reached(server, former) == 404
    modify(server, instance, old_domain=former)
    answer = Person(server, "x", instance).http.get("/files/x?a=b", headers={"Host": former}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (308, f"http://{instance.domain}/files/x?a=b")
    app = Person(server, "x", instance).http.get("/y", headers={"Host": f"drive.{former}"}, follow_redirects=False)
    assert (app.status_code, app.headers["location"]) == (308, f"http://drive.{instance.domain}/y")


def test_a_change_is_seen_at_once_and_lifted_from_the_settings(server: RunningServer) -> None:
    instance = create(server, f"change.localhost:{server.port}")
    modify(
        server,
        instance,
        locale="fr",
        settings={"tos": "20260101", "auto_update": "false", "color": "red"},
        disk_quota=10,
    )
    assert (instance.locale, instance.doc.tos, instance.doc.no_auto_update, instance.doc.disk_quota) == (
        "fr", "1.0.0-20260101", True, "10",
    )  # fmt: skip
    settings = server.do(lambda _: instance.settings())
    assert settings["color"] == "red"
    assert "tos" not in settings
    modify(server, instance, disk_quota=-1)
    assert instance.doc.disk_quota == ""
    modify(server, instance, blocked=True, blocking_reason="PAYMENT_FAILED")
    assert reached(server, instance.domain) == 402


def test_a_destroyed_instance_leaves_nothing_and_its_name_is_free(server: RunningServer) -> None:
    domain = f"gone.localhost:{server.port}"
    instance = create(server, domain, public_name="First life")
    server.do(lambda runtime: commands.destroy_instance(runtime.instances, domain))
    assert reached(server, domain) == 404
    assert not server.runtime.stores.exists(instance.prefix)
    with pytest.raises(NotFound):
        server.do(lambda runtime: commands.destroy_instance(runtime.instances, domain))
    again = create(server, domain, public_name="Second life")
    assert server.do(lambda _: again.public_name()) == "Second life"
    assert again.doc.oauth_secret != instance.doc.oauth_secret


def test_what_a_crash_left_of_a_creation_is_thrown_away(server: RunningServer) -> None:
    domain = f"crashed.localhost:{server.port}"
    failing = server.runtime.instances.on_created

    async def crash(instance: Instance) -> None:
        raise ConnectionError("the power is gone")

    failing.append(crash)
    try:
        with pytest.raises(ConnectionError):
            create(server, domain, public_name="Half")
    finally:
        failing.remove(crash)
    assert reached(server, domain) == 404
    whole = create(server, domain, public_name="Whole")
    assert server.do(lambda _: whole.public_name()) == "Whole"
    contacts = server.do(lambda _: whole.store.read(lambda view: view.all_docs(CONTACTS)))
    assert len(contacts) == 1


def test_an_interrupted_destruction_is_finished_by_the_next_start(tmp_path: Path) -> None:
    first = RunningServer(tmp_path / "data").start()
    doomed = create(first, f"doomed.localhost:{first.port}")
    kept = create(first, f"kept.localhost:{first.port}")

    async def crash(instance: Instance) -> None:
        raise ConnectionError("the power is gone")

    first.runtime.instances.on_destroyed.append(crash)
    with pytest.raises(ConnectionError):
        first.do(lambda runtime: commands.destroy_instance(runtime.instances, doomed.domain))
    assert reached(first, doomed.domain) == 404
    first.stop()
    second = RunningServer(tmp_path / "data").start()
    try:
        assert not second.runtime.stores.exists(doomed.prefix)
        assert [doc.domain for doc in second.do(lambda runtime: runtime.instances.documents())] == [kept.domain]
        assert second.do(lambda runtime: runtime.instances.count()) == 1
    finally:
        second.stop()
        shutil.rmtree(tmp_path / "data")


def test_flat_sub_domains_cut_at_the_first_hyphen(tmp_path: Path) -> None:
    flat = RunningServer(tmp_path, subdomains="flat").start()
    try:
        instance = create(flat, f"anna.localhost:{flat.port}")
        found = flat.do(lambda runtime: runtime.instances.by_host(f"anna-my-app.localhost:{flat.port}"))
        assert found is not None
        assert (found.instance, found.slug) == (instance, "my-app")
        assert instance.app_url("drive", "/x", fragment="/y") == f"http://anna-drive.localhost:{flat.port}/x#/y"
        with pytest.raises(InvalidParameter):
            create(flat, f"an-na.localhost:{flat.port}")
    finally:
        flat.stop()
