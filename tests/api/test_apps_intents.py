"""Intents: an app asks which other app can pick, edit or show something for it (spec/03 §13)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.api.apps_workshop import install, visit, write_app
from tests.browser_forms import Browser
from tests.clocks import SteppedClock
from tests.servers import Person

from inglenook.apps import intents
from inglenook.apps.intents import INTENTS
from inglenook.identity import commands, permission_documents

PICK = {"action": "PICK", "type": "io.cozy.files", "permissions": ["GET"]}


@pytest.fixture(scope="module", autouse=True)
def apps(alice: Person, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three apps: `client` serves nothing, `gallery` images, `drive` files and images."""
    offers = {
        "client": [],
        "gallery": [{"action": "pick", "type": ["image/*"], "href": "/choose?old=1#/grid"}],
        "drive": [{"action": "PICK", "type": ["io.cozy.files", "image/png"], "href": "/pick"}],
    }
    for slug, declared in offers.items():
        folder = write_app(tmp_path_factory.mktemp(slug), slug=slug, intents=declared, client_url_flag=f"{slug}.url")
        install(alice, folder, slug)


def token(person: Person, slug: str) -> str:
    """A token of an app."""
    return commands.app_token(person.instance, slug)


def ask(person: Person, slug: str = "client", **attributes: Any) -> dict[str, Any]:
    """A new intent."""
    body = {"data": {"type": INTENTS, "attributes": attributes or PICK}}
    answer = person.post("/intents", token=token(person, slug), json_body=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_an_intent_names_who_can_serve_it_and_who_asked(alice: Person) -> None:
    made = ask(alice)
    url = alice.instance.app_url("drive", "/pick", {"intent": made["id"]})
    assert made["attributes"] == {
        "action": "PICK", "type": "io.cozy.files", "permissions": ["GET"],
        "client": alice.instance.app_url("client", ""), "services": [{"slug": "drive", "href": url}],
        "availableApps": None,
    }  # fmt: skip

    async def rights(_: object) -> Any:
        return await alice.instance.store.read(
            lambda view: permission_documents.of_source(view, "app", "io.cozy.apps/client")
        )

    assert made["links"] == {
        "self": f"/intents/{made['id']}", "permissions": f"/permissions/{alice.server.do(rights).id}",
    }  # fmt: skip


def test_actions_and_media_types_are_matched_generously(alice: Person) -> None:
    made = ask(alice, action="Pick", type="image/png")
    services = {service["slug"]: service["href"] for service in made["attributes"]["services"]}
    assert list(services) == ["drive", "gallery"]
    assert services["gallery"] == alice.instance.app_url("gallery", "/choose", {"intent": made["id"]}, "/grid")
    assert ask(alice, action="PICK", type="image/gif")["attributes"]["services"][0]["slug"] == "gallery"


def test_nobody_can_serve_some_intents(alice: Person) -> None:
    attributes = ask(alice, action="SING", type="io.cozy.songs")["attributes"]
    assert (attributes["services"], attributes["availableApps"]) == ([], [])


def test_only_a_service_reads_the_intent(alice: Person) -> None:
    made = ask(alice)
    path = f"/intents/{made['id']}"
    assert alice.get(path, token=token(alice, "drive")).json()["data"]["attributes"] == made["attributes"]
    for other in ("client", "gallery"):
        assert alice.get(path, token=token(alice, other)).status_code == 403
    assert alice.get(path, "io.cozy.files").status_code == 403
    assert alice.get(path).status_code == 403
    assert alice.get("/intents/nothing", token=token(alice, "drive")).status_code == 404


def test_a_client_that_is_no_app_can_ask_as_well(alice: Person) -> None:
    answer = alice.post("/intents", "io.cozy.files", json_body={"data": {"type": INTENTS, "attributes": PICK}}).json()
    assert answer["data"]["attributes"]["client"] == ""
    assert "links" not in answer["data"]


@pytest.mark.parametrize(
    ("attributes", "pointer"),
    [({"type": "x"}, "action"), ({"action": "PICK"}, "type"), ({**PICK, "action": 5}, "action"),
     ({**PICK, "permissions": "GET"}, "permissions")],
)  # fmt: skip
def test_what_is_missing_is_named(alice: Person, attributes: dict[str, Any], pointer: str) -> None:
    body = {"data": {"type": INTENTS, "attributes": attributes}}
    answer = alice.post("/intents", token=token(alice, "client"), json_body=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["source"]["pointer"] == f"/data/attributes/{pointer}"


def test_no_token_no_intent(alice: Person) -> None:
    body = {"data": {"type": INTENTS, "attributes": PICK}}
    assert alice.post("/intents", json_body=body).status_code == 403
    assert alice.post("/intents", token="nonsense", json_body=body).status_code == 403


def test_the_page_of_the_service_may_be_framed_by_who_asked(alice: Person) -> None:
    made = ask(alice)
    browser = Browser(alice)

    def ancestors(slug: str, intent: str) -> str:
        text = visit(browser, f"/public/?intent={intent}", slug).headers["content-security-policy"]
        return text.partition("frame-ancestors ")[2].partition(";")[0]

    client = alice.instance.app_url("client", "")
    assert ancestors("drive", made["id"]) == f"'self' {client}"
    assert ancestors("gallery", made["id"]) == "'self'"
    assert ancestors("drive", "nothing") == "'self'"
    import msgspec

    flags = {"drive.url": "https://drive.example.org/x; script-src *", "gallery.url": "javascript:alert(1)"}
    alice.server.do(
        lambda runtime: runtime.instances.modify(
            alice.instance, lambda doc: msgspec.structs.replace(doc, feature_flags=flags)
        )
    )
    assert ancestors("drive", made["id"]) == f"'self' {client} https://drive.example.org"


def test_old_intents_go(alice: Person, tmp_path: Path) -> None:
    clock = SteppedClock()
    made = ask(alice)

    async def later(_: object) -> tuple[bool, bool]:
        from dataclasses import replace

        instance = alice.instance
        clock.step(10 * 365 * 86_400)
        present, instance.env = instance.env, replace(instance.env, clock=clock)
        try:
            wish = intents.wish(PICK)
            new = await instance.store.write(lambda tx: intents.ask(tx, instance, wish, "", instance.domain))
        finally:
            instance.env = present
        return await instance.store.read(
            lambda view: (view.get(INTENTS, made["id"]) is None, view.get(INTENTS, new.id) is not None)
        )

    assert alice.server.do(later) == (True, True)
