"""A web app in a real browser: its policy lets it work, and the page at home shows it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.api.apps_workshop import FILES, install, write_app
from tests.servers import RunningServer

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the system's Chromium")

PAGE = """<!DOCTYPE html><html lang="{{.Locale}}"><head><meta charset="utf-8"><title>start</title>
{{.Favicon}}{{.ThemeCSS}}{{.CozyClientJS}}{{.CozyBar}}<script src="/app.js" defer></script></head>
<body><div role="banner"></div><main role="application" data-cozy="{{.CozyData}}"></main>
<p id="answer"></p></body></html>
"""
SCRIPT = """
const data = JSON.parse(document.querySelector('[data-cozy]').dataset.cozy)
cozy.bar.init()
cozy.client.init({ cozyURL: location.protocol + '//' + data.domain, token: data.token })
cozy.client.fetchJSON('GET', '/files/io.cozy.files.root-dir')
  .then(root => { document.getElementById('answer').textContent = root.id })
navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready)
  .then(worker => { document.title = worker.scope })
"""


def test_an_app_works_under_its_policy_and_is_shown_at_home(
    server: RunningServer, chromium: Browser, tmp_path: Path
) -> None:
    alice = server.add("alice", passphrase="cozy")
    worker = "self.addEventListener('fetch', () => {})"
    install(alice, write_app(tmp_path / "mini", files={**FILES, "index.html": PAGE, "app.js": SCRIPT, "sw.js": worker}))
    page = chromium.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    app = alice.instance.app_url("mini")
    page.goto(app)
    page.fill("#password", "cozy")
    page.click("button[type=submit]")
    page.wait_for_url(app)
    expect(page.locator("#answer")).to_have_text("io.cozy.files.root-dir")
    expect(page.locator("[role=banner] a")).to_have_attribute("href", f"{alice.url}/")
    expect(page).to_have_title(app)

    page.click("[role=banner] a")
    page.wait_for_url(alice.instance.app_url("home"))
    page.click("text=Mini")
    page.wait_for_url(app)
    assert complaints == []
