"""What a browser does with the server's pages: read forms, hash the passphrase, keep cookies."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from html.parser import HTMLParser

import httpx
from tests.servers import Person


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name")
        if tag in ("input", "button") and name:
            self.found.setdefault(name, given.get("value") or "")


def fields(page: str) -> dict[str, str]:
    """The named fields of a page with their values."""
    parser = _Fields()
    parser.feed(page)
    return parser.found


@lru_cache
def hashed(passphrase: str, domain: str, iterations: int = 650_000) -> str:
    """What a browser sends in place of a passphrase."""
    salt = f"me@{domain.partition(':')[0]}".encode()
    master = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, iterations, 32)
    return base64.b64encode(hashlib.pbkdf2_hmac("sha256", master, passphrase.encode(), 1, 32)).decode()


class Browser:
    """A browser that visits one person's instance and follows no redirect by itself.

    Cookies are kept by name: the names of the tests' hosts all lead to this machine."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.cookies: dict[str, str] = {}
        self.http = httpx.Client(base_url=person.server.origin, timeout=120, trust_env=False, follow_redirects=False)

    def request(self, method: str, path: str, **rest: object) -> httpx.Response:
        """A request with the cookies so far."""
        headers = {"Host": self.person.domain, **rest.pop("headers", {})}  # type: ignore[dict-item]
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.http.request(method, path.removeprefix(self.person.url), headers=headers, **rest)  # type: ignore[arg-type]
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line or not value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    def get(self, path: str, **rest: object) -> httpx.Response:
        """GET."""
        return self.request("GET", path, **rest)

    def post(self, path: str, **rest: object) -> httpx.Response:
        """POST."""
        return self.request("POST", path, **rest)

    def login(self, passphrase: str = "cozy", *, redirect: str = "", json: bool = False, **more: str) -> httpx.Response:
        """Fill in the login form."""
        page = self.get("/auth/login", params={"redirect": redirect} if redirect else {})
        form = fields(page.text)
        data = {
            "passphrase": hashed(passphrase, self.person.domain), "csrf_token": form.get("csrf_token", ""),
            "redirect": form.get("redirect", ""), "long-run-session": "false", **more,
        }  # fmt: skip
        headers = {"Accept": "application/json"} if json else {}
        return self.post("/auth/login", data=data, headers=headers)

    @property
    def logged_in(self) -> bool:
        """Whether the server knows this browser's session."""
        return self.get("/settings/sessions/current").status_code == 200


def cookie_line(answer: httpx.Response, name: str) -> str:
    """The Set-Cookie line of a cookie, in lower case; empty when it is not set."""
    lines = [line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{name}=")]
    return lines[0].lower() if lines else ""
