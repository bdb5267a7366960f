"""Addresses that lead astray: redirections, hosts, paths, line breaks, caches."""

from __future__ import annotations

import socket
from urllib.parse import quote, urlsplit

import httpx
import pytest
from tests.api.apps_workshop import FILES, visit
from tests.browser_forms import Browser, fields, hashed
from tests.servers import Person

ELSEWHERE = [
    "https://evil.example/", "//evil.example/", "///evil.example", "/\\evil.example", "\\\\evil.example",
    "http:evil.example", "http:///evil.example", "https:evil.example", "javascript:alert(1)", "data:text/html,x",
    "http://{domain}@evil.example/", "http://{domain}.evil.example/", "http://evil.example/{domain}",
    "http://evil.example#{domain}", "http://evil.example?{domain}", "http://{domain}:80@evil.example/",
    "http://a.b.{domain}/", "http://{domain}evil.example/", "http://evil.example\\@{domain}/",
    "http://evil.example%2f@{domain}/", "http://user:pass@mini.{domain}/", "http://mini.{domain}%00.evil.example/",
    "ftp://mini.{domain}/", "http://xn--mini.{domain}.evil.example/", " http://evil.example/", "http://evil\u3002example/",
    "http://bob.localhost/", "http://[::1]/", "http://mini.{domain}:1/", "http://MINI_X.{domain}/",
]  # fmt: skip


def lands(alice: Person, location: str) -> bool:
    """Whether a browser would be with alice after following this."""
    parts = urlsplit(location)
    host = (parts.netloc.rpartition("@")[2]).lower()
    return (
        parts.scheme == "http"
        and "@" not in parts.netloc
        and (host == alice.domain or host.endswith(f".{alice.domain}"))
    )


def sent_by_form(browser: Browser, target: str) -> httpx.Response:
    """The login form with another redirection in it."""
    form = fields(browser.get("/auth/login").text)
    right = hashed("cozy", browser.person.domain)
    return browser.post("/auth/login", data={**form, "passphrase": right, "redirect": target})


@pytest.mark.parametrize("wish", ELSEWHERE)
def test_no_page_sends_a_browser_elsewhere(alice: Person, owner: Browser, wish: str) -> None:
    target = wish.replace("{domain}", alice.domain)
    visitor = Browser(alice)
    asked = [
        visitor.get("/auth/login", params={"redirect": target}),
        sent_by_form(visitor, target),
        owner.get("/auth/login", params={"redirect": target}),
        owner.get("/auth/confirm", params={"state": "s", "redirect": target}),
        owner.get("/settings/clients/limit-exceeded", params={"redirect": target}),
        Browser(alice).get("/auth/twofactor", params={"two_factor_token": "x", "redirect": target}),
    ]
    for answer in asked:
        assert answer.status_code < 500
        location = answer.headers.get("location")
        assert location is None or lands(alice, location), location
        if location is None:
            assert answer.status_code in (400, 401)


def test_a_link_password_leads_back_to_an_app_only(alice: Person) -> None:
    rules = {"x": {"type": "io.cozy.tests", "verbs": ["GET"], "values": ["1"]}}
    body = {"data": {"attributes": {"permissions": rules, "password": "hush"}}}
    id = alice.post("/permissions", "io.cozy.tests", json_body=body).json()["data"]["id"]
    for referer in ("https://evil.example/", f"http://mini.{alice.domain}.evil.example/", f"http://{alice.domain}/x"):
        answer = alice.http.post(
            "/auth/share-by-link/password", data={"perm_id": id, "password": "hush"},
            headers={"Accept": "text/html", "Referer": referer},
        )  # fmt: skip
        assert "location" not in answer.headers


# -- hosts


@pytest.mark.parametrize(
    "host", ["evil.example", "", "localhost", "127.0.0.1", "alice.localhost", "..", "%00", "a" * 300]
)
def test_another_host_is_nobody(alice: Person, host: str) -> None:
    answer = alice.http.get("/auth/login", headers={"Host": host, "Accept": "application/json"})
    assert answer.status_code in (400, 404)


def test_headers_of_proxies_do_not_change_who_is_asked(alice: Person, bob: Person) -> None:
    for name in ("X-Forwarded-Host", "X-Host", "X-Forwarded-Server", "Forwarded", "X-Original-URL", "X-Rewrite-URL"):
        value = f"host={bob.domain}" if name == "Forwarded" else bob.domain
        page = alice.http.get("/auth/login", headers={name: value, "X-Forwarded-Proto": "https"})
        assert bob.domain not in page.text
        assert "https://alice" not in page.text
        sent = alice.http.get("/", headers={name: value, "X-Forwarded-Proto": "https"})
        assert sent.headers["location"] == f"{alice.url}/auth/login"


def test_the_link_of_a_mail_leads_to_the_domain_of_the_instance(alice: Person) -> None:
    """Whoever asks for another passphrase under an odd name must not choose where the link leads."""
    odd = f"{alice.domain}."
    page = alice.http.get("/auth/passphrase_reset", headers={"Host": odd})
    form = fields(page.text)
    cookie = f"_csrf={form['csrf_token']}"
    alice.http.post("/auth/passphrase_reset", data=form, headers={"Host": odd, "Cookie": cookie})

    async def read(_: object) -> list[str]:
        records = await alice.instance.store.read(lambda view: view.records("letters"))
        return [record.body["template_values"].get("PassphraseResetLink", "") for record in records]

    links = [link for link in alice.server.do(read) if link]
    assert all(link.startswith(f"{alice.url}/auth/passphrase_renew?") for link in links)


def raw(person: Person, request: bytes) -> bytes:
    """What the server answers to these very bytes."""
    with socket.create_connection(("127.0.0.1", person.server.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def get(person: Person, path: str, host: str = "", more: str = "") -> bytes:
    host = host or person.domain
    return raw(person, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode())


def test_an_address_in_the_request_line_does_not_change_who_is_asked(alice: Person, bob: Person) -> None:
    answer = get(alice, f"http://{bob.domain}/auth/login")
    assert f"me@{bob.domain.partition(':')[0]}".encode() not in answer or b"400" in answer[:20]
    two = get(alice, "/", more=f"Host: {bob.domain}\r\n")
    assert b"bob.localhost" not in two


def test_a_request_cannot_be_smuggled_in_another_one(alice: Person) -> None:
    inner = f"GET /settings/sessions HTTP/1.1\r\nHost: {alice.domain}\r\n\r\n"
    both = (
        f"POST /auth/hint HTTP/1.1\r\nHost: {alice.domain}\r\nContent-Length: {len(inner)}\r\n"
        f"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n{inner}"
    )
    assert raw(alice, both.encode()).count(b"HTTP/1.1 ") <= 1
    twice = (
        f"POST /auth/hint HTTP/1.1\r\nHost: {alice.domain}\r\nContent-Length: 0\r\nContent-Length: {len(inner)}\r\n"
        f"Connection: close\r\n\r\n{inner}"
    )
    assert raw(alice, twice.encode()).count(b"HTTP/1.1 ") <= 1


# -- paths


UP = [
    "/public/../private.txt", "/public/..%2fprivate.txt", "/public/%2e%2e/private.txt", "/public/%2e%2e%2fprivate.txt",
    "/public/..%5cprivate.txt", "/public//../private.txt", "/assets/../private.txt", "/assets/%2e%2e/manifest.webapp",
    "/public/....//private.txt", "/public/.%2e/private.txt", "/public/%252e%252e/private.txt",
    "/public/..;/private.txt",
    "//private.txt", "/./private.txt", "/%2fprivate.txt", "/public/../../../../etc/passwd",
    "/assets/..%c0%afprivate.txt",
    "/public/%00/../private.txt", "/file:///etc/passwd", "/public/\\..\\private.txt",
]  # fmt: skip


@pytest.mark.parametrize("path", UP)
def test_no_path_leads_to_what_is_private(alice: Person, path: str) -> None:
    answer = get(alice, path, host=f"mini.{alice.domain}")
    assert answer.split(b" ")[1] in (b"400", b"401", b"302", b"404"), answer[:200]
    assert FILES["private.txt"].encode() not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "name", ["../pyproject.toml", "..%2f..%2fpages.py", "%2e%2e%2fpages.py", ".", "..", "pages.py"]
)
def test_static_files_are_only_the_ones_of_pages(alice: Person, name: str) -> None:
    assert get(alice, f"/assets/{name}").split(b" ")[1] in (b"400", b"404")


# -- line breaks and caches


@pytest.mark.parametrize(
    "breaks", ["%0d%0aX-Evil:%201", "%0aSet-Cookie:%20a=b", "%0d%0a%0d%0a<script>", "%E5%98%8A%E5%98%8D"]
)
def test_no_parameter_makes_a_header(alice: Person, owner: Browser, breaks: str) -> None:
    paths = [
        f"/auth/login?redirect=mini/{breaks}", f"/auth/login?redirect=http://mini.{alice.domain}/{breaks}",
        f"/?jwt={breaks}", f"/auth/authorize?client_id={breaks}&session_code=x", f"/nowhere{breaks}",
        f"/settings/clients/limit-exceeded?redirect=mini/{breaks}",
        f"/auth/authorize/sharing?state={breaks}&sharing_id=x",
    ]  # fmt: skip
    for path in paths:
        for browser in (owner, Browser(alice)):
            answer = browser.get(path)
            assert answer.status_code < 500
            assert "x-evil" not in answer.headers
            assert not any(line.startswith("a=b") for line in answer.headers.get_list("set-cookie"))
    answer = visit(Browser(alice), f"/?{breaks}")
    assert answer.status_code == 302
    assert "x-evil" not in answer.headers


def test_letters_of_any_language_in_a_redirection_do_no_harm(alice: Person) -> None:
    answer = Browser(alice).login(redirect=f"http://mini.{alice.domain}/été/日本#ok")
    assert answer.status_code in (303, 400)
    if answer.status_code == 303:
        assert lands(alice, answer.headers["location"])


def test_the_name_of_a_file_makes_no_header(alice: Person) -> None:
    name = quote('a"\r\nX-Evil: 1\r\n.txt')
    made = alice.post(
        f"/files/io.cozy.files.root-dir?Type=file&Name={name}", "io.cozy.files", content=b"x",
        headers={"Content-Type": "text/plain"},
    )  # fmt: skip
    if made.status_code == 201:
        answer = alice.get(f"/files/download/{made.json()['data']['id']}?Dl=1", "io.cozy.files")
        assert "x-evil" not in answer.headers
    else:
        assert made.status_code == 422


def test_what_depends_on_who_asks_is_kept_by_no_cache(owner: Browser, alice: Person) -> None:
    page = visit(owner)
    assert page.headers["cache-control"] == "private, no-store, must-revalidate"
    for path in ("/auth/login", "/auth/confirm?state=s", "/settings/sessions/current", "/auth/authorize"):
        assert "no-store" in owner.get(path).headers["cache-control"]
    for path in ("/nowhere.css", "/auth/login/style.css", "/settings/instance/x.js"):
        answer = owner.get(path, headers={"Accept": "text/html"})
        assert answer.status_code in (401, 404)
        assert "max-age" not in answer.headers.get("cache-control", "")
    by_origin = alice.http.get("/settings/capabilities", headers={"Origin": "https://a.example"})
    assert "origin" in by_origin.headers["vary"].lower()
