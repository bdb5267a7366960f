"""Apps of a registry: found, installed, kept up to date, linked to OAuth clients (spec/03 §7, §12.2, §12.3)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.api.apps_workshop import RULES, install, operator, publish, visit, write_app
from tests.browser_forms import Browser, fields
from tests.servers import Person

from inglenook.apps import installing
from inglenook.kernel.errors import BadRequest, NotFound, UpstreamFailed

CALLBACK = "https://device.example/cb?x=1"
LINKED = {"redirect_uris": [CALLBACK], "client_name": "Phone", "software_id": "registry://mini"}


def version(person: Person) -> str:
    return person.get("/apps/mini", "io.cozy.apps").json()["data"]["attributes"]["version"]


def eventually(check: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not check():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.05)


def register(person: Person, **changes: Any) -> Any:
    return person.http.post("/auth/register", json={**LINKED, **changes}, headers={"Accept": "application/json"})


def asking(client: dict[str, Any]) -> dict[str, str]:
    return {
        "client_id": client["client_id"], "redirect_uri": client["redirect_uris"][0], "state": "s",
        "response_type": "code", "scope": "io.cozy.contacts:GET",
    }  # fmt: skip


def trade(person: Person, client: dict[str, Any], **more: str) -> Any:
    return person.http.post(
        "/auth/access_token", data={**{n: client[n] for n in ("client_id", "client_secret")}, **more}
    )


def test_an_app_comes_from_the_first_registry_that_knows_it(shopper: Person, website: dict[str, Any]) -> None:
    publish(website, "1.0.0")
    assert install(shopper, "registry://mini").body["version"] == "1.0.0"
    publish(website, "1.1.0")
    update = installing.update(shopper.instance, "mini")
    assert shopper.server.do(lambda _: update).body["version"] == "1.1.0"
    website["/mini-1.1.0.tar.gz"] = (500, b"")
    again = installing.update(shopper.instance, "mini")
    assert shopper.server.do(lambda _: again).body["version"] == "1.1.0", "the same version is not fetched again"


def test_a_channel_or_a_version_can_be_chosen(shopper: Person, website: dict[str, Any]) -> None:
    publish(website, "1.0.0")
    publish(website, "2.0.0-beta.1", channel="beta")
    assert install(shopper, "registry://mini/beta").body["version"] == "2.0.0-beta.1"
    back = installing.update(shopper.instance, "mini", "registry://mini/stable/1.0.0")
    assert shopper.server.do(lambda _: back).body["version"] == "1.0.0"


def test_an_archive_that_is_not_the_registered_one_is_refused(shopper: Person, website: dict[str, Any]) -> None:
    publish(website, "1.0.0", sha256="0" * 64)
    with pytest.raises(BadRequest, match="SHA-256"):
        install(shopper, "registry://mini")


@pytest.mark.parametrize(
    "told",
    [
        b"", b"[]", b"{", b'{"version": "1", "url": "file:///etc/passwd", "sha256": "' + b"0" * 64 + b'"}',
        b'{"version": "1", "url": "http://127.0.0.1/x", "sha256": ""}',
    ],
)  # fmt: skip
def test_what_a_registry_says_is_not_believed_blindly(shopper: Person, website: dict[str, Any], told: bytes) -> None:
    website["/registry/mini/stable/latest"] = (200, told)
    with pytest.raises(UpstreamFailed):
        install(shopper, "registry://mini")
    with pytest.raises(NotFound, match="No registry knows"):
        install(shopper, "registry://other", "other")


def test_the_store_shows_its_owner_what_is_not_installed(
    shopper: Person, website: dict[str, Any], tmp_path: Path
) -> None:
    publish(website, "1.0.0")
    browser = Browser(shopper)
    browser.login()
    assert visit(browser).status_code == 404, "no store"
    install(shopper, write_app(tmp_path / "store", slug="store"), "store")
    shown = visit(browser)
    assert (shown.status_code, shown.headers["location"]) == (
        307, f"{shopper.instance.app_url('store')}#/discover/mini",
    )  # fmt: skip
    assert visit(browser, slug="unknown").status_code == 404
    assert visit(Browser(shopper)).status_code == 404, "registries are not asked for strangers"


def test_a_look_at_an_app_brings_it_up_to_date(shopper: Person, website: dict[str, Any]) -> None:
    publish(website, "1.0.0")
    install(shopper, "registry://mini")
    publish(website, "1.1.0")
    assert version(shopper) == "1.0.0", "the answer does not wait"
    eventually(lambda: version(shopper) == "1.1.0")


def test_new_terms_wait_for_the_user(shopper: Person, website: dict[str, Any]) -> None:
    publish(website, "1.0.0")
    install(shopper, "registry://mini")
    publish(website, "1.1.0", terms={"url": "https://example.com/terms", "version": "2"})

    def told() -> bool:
        attributes = shopper.get("/apps/mini", "io.cozy.apps").json()["data"]["attributes"]
        assert attributes["version"] == "1.0.0"
        return attributes.get("available_version") == "1.1.0"

    eventually(told)
    done = shopper.put("/apps/mini?PermissionsAcked=true", token=operator(shopper))
    assert done.status_code == 202
    eventually(lambda: version(shopper) == "1.1.0")


def test_an_owner_may_keep_his_versions(shopper: Person, website: dict[str, Any]) -> None:
    settings = shopper.get("/settings/instance", "io.cozy.settings").json()["data"]
    settings["attributes"]["auto_update"] = False
    assert shopper.put("/settings/instance", "io.cozy.settings", json_body={"data": settings}).status_code == 200
    publish(website, "1.0.0")
    install(shopper, "registry://mini")
    asked = website["/registry/mini/stable/latest"]
    website["/registry/mini/stable/latest"] = (500, b"")
    assert version(shopper) == "1.0.0"
    website["/registry/mini/stable/latest"] = asked
    assert version(shopper) == "1.0.0"


def test_an_app_of_a_registry_is_downloaded_there(shopper: Person, website: dict[str, Any]) -> None:
    publish(website, "1.0.0")
    install(shopper, "registry://mini")
    for path in ("/apps/mini/download", "/apps/mini/download/1.0.0"):
        answer = shopper.get(path, "io.cozy.apps")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{website['']}/mini-1.0.0.tar.gz")
    assert shopper.get("/apps/mini/download/9", "io.cozy.apps").status_code == 404


# -- clients that are linked to an app


def test_a_linked_client_has_the_rights_of_its_app(shopper: Person, website: dict[str, Any]) -> None:
    refused = register(shopper)
    assert (refused.status_code, refused.json()) == (
        400,
        {
            "error": "unapproved_software_id",
            "error_description": "Application was not found on instance registries",
        },
    )
    publish(website, "1.0.0")
    client = register(shopper).json()
    assert client["cozyMetadata"]["createdByApp"] == "mini"
    browser = Browser(shopper)
    browser.login()
    page = browser.get("/auth/authorize", params=asking(client))
    assert page.status_code == 200
    assert "Your files" in page.text, "the rights are those of the manifest"
    assert "Your contacts" not in page.text
    answer = browser.post("/auth/authorize", data=fields(page.text))
    assert answer.status_code == 302, answer.text
    got = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert got["fallback"] == f"http://mini.{shopper.domain}/"
    assert (got["x"], got["state"]) == ("1", "s")
    tokens = trade(shopper, client, grant_type="authorization_code", code=got["code"]).json()
    assert tokens["scope"] == "@io.cozy.apps/mini"
    assert version(shopper) == "1.0.0", "the app came with its client"
    own = shopper.get("/permissions/self", token=tokens["access_token"]).json()["data"]["attributes"]
    assert own["permissions"] == RULES
    assert shopper.get("/files/io.cozy.files.root-dir", token=tokens["access_token"]).status_code == 200
    again = trade(shopper, client, grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    assert again["scope"] == "@io.cozy.apps/mini"
    body = {"permissions": {"files": {"type": "io.cozy.files", "verbs": ["GET"], "values": ["a"]}}}
    link = shopper.post("/permissions", token=again["access_token"], json_body={"data": {"attributes": body}})
    assert link.json()["data"]["attributes"]["source_id"] == "io.cozy.apps/mini"
    refused = shopper.delete("/apps/mini", token=operator(shopper))
    assert refused.json()["errors"][0]["detail"] == "A linked OAuth client exists for this app"
    assert shopper.delete(f"/settings/clients/{client['client_id']}", "io.cozy.oauth.clients").status_code == 204
    assert shopper.delete("/apps/mini", token=operator(shopper)).status_code == 200


def test_a_native_client_gets_no_fallback(shopper: Person, website: dict[str, Any]) -> None:
    publish(website, "1.0.0")
    client = register(shopper, redirect_uris=["cozydrive://cb"], software_id="registry://mini/stable").json()
    browser = Browser(shopper)
    browser.login()
    page = browser.get("/auth/authorize", params=asking(client))
    answer = browser.post("/auth/authorize", data=fields(page.text))
    assert "fallback" not in answer.headers["location"]
    refused = shopper.delete("/apps/mini", token=operator(shopper))
    assert refused.status_code == 400, "a channel in the software id is a link as well"


def test_a_linked_app_that_cannot_be_had_is_no_code(shopper: Person, website: dict[str, Any]) -> None:
    publish(website, "1.0.0")
    client = register(shopper).json()
    browser = Browser(shopper)
    browser.login()
    page = browser.get("/auth/authorize", params=asking(client))
    website["/mini-1.0.0.tar.gz"] = (500, b"")
    answer = browser.post("/auth/authorize", data=fields(page.text))
    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "software", ["registry://store", "registry://settings/stable", "registry://", "registry://A b"]
)
def test_some_links_are_never_made(shopper: Person, software: str) -> None:
    refused = register(shopper, software_id=software)
    assert (refused.status_code, refused.json()["error"]) == (400, "unapproved_software_id")
