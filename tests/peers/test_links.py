"""Calls in the name of a sharing: expired tokens, moved peers, patience (spec/05 §20.2, spec/04 §14)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
import structlog
from aiohttp import web

from inglenook.kernel.errors import UpstreamFailed
from inglenook.peers.errors import PeerBusy, PeerGarbage, PeerRefusedTokens
from inglenook.peers.peers import PeerLink, Peers, TokensChanged
from peers.street import Street

pytestmark = pytest.mark.anyio

EXPIRED = {
    "status": 400,
    "text": "Expired token",
    "headers": {"WWW-Authenticate": 'Bearer error="invalid_token" error_description="The access token expired"'},
}


@dataclass
class Bob:
    """Bob's server: accepts `good` tokens only and renews on request."""

    good: set[str] = field(default_factory=lambda: {"access-2"})
    renewals: list[dict[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refusal: dict[str, object] = field(default_factory=lambda: dict(EXPIRED))
    renewed: web.Response | None = None
    extra: dict[str, str] = field(default_factory=dict)

    async def call(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.calls.append(token)
        if token not in self.good:
            return web.Response(**self.refusal)  # type: ignore[arg-type]
        return web.json_response({"body": (await request.read()).decode()})

    async def renew(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        form["authorization"] = request.headers["Authorization"]
        form["type"] = request.content_type
        form["accept"] = request.headers["Accept"]
        self.renewals.append(form)
        if self.renewed is not None:
            return self.renewed
        answer = {"token_type": "bearer", "scope": "io.cozy.sharings:ALL:s1", "access_token": "access-2", **self.extra}
        return web.json_response(answer)


@dataclass
class Saved:
    changes: list[TokensChanged] = field(default_factory=list)

    async def __call__(self, change: TokensChanged) -> None:
        self.changes.append(change)


async def open_house(street: Street, bob: Bob, name: str = "bob") -> str:
    return await street.web(
        ("POST", "/auth/access_token", bob.renew), ("POST", "/sharings/{rest:.*}", bob.call), name=name
    )


def link_to(url: str, saved: Saved, refresh_token: str = "refresh-1") -> PeerLink:
    return PeerLink(url, "access-1", refresh_token, "client-1", "secret-1", saved)


async def test_an_expired_token_is_renewed_saved_and_the_request_sent_again(peers: Peers, street: Street) -> None:
    bob, saved = Bob(), Saved()
    url = await open_house(street, bob)
    link = link_to(url + "/some/path/", saved)
    response = await peers.authorized(link, "POST", "/sharings/s1/_revs_diff", body=b"{}")
    assert response.json() == {"body": "{}"}
    assert bob.calls == ["access-1", "access-2"]
    assert bob.renewals == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-1",
            "client_id": "client-1",
            "client_secret": "secret-1",
            "authorization": "Bearer access-1",
            "type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
    ]
    assert saved.changes == [TokensChanged("access-2", "refresh-1", url + "/some/path/")]
    assert link.access_token == "access-2"


async def test_equal_tokens_of_two_servers_have_nothing_to_do_with_each_other(peers: Peers, street: Street) -> None:
    bob, carol = Bob(), Bob(good={"access-3"}, extra={"access_token": "access-3"})
    links = [
        link_to(await open_house(street, bob), Saved()),
        link_to(await open_house(street, carol, "carol"), Saved()),
    ]
    for link in links:
        assert (await peers.authorized(link, "POST", "/sharings/s1/_revs_diff")).ok
    assert [link.access_token for link in links] == ["access-2", "access-3"]
    assert carol.calls == ["access-1", "access-3"]


async def test_a_new_refresh_token_takes_the_place_of_the_old_one(peers: Peers, street: Street) -> None:
    bob, saved = Bob(extra={"refresh_token": "refresh-2"}), Saved()
    link = link_to(await open_house(street, bob), saved)
    await peers.authorized(link, "POST", "/sharings/s1/_revs_diff")
    assert (link.refresh_token, saved.changes[0].refresh_token) == ("refresh-2", "refresh-2")


@pytest.mark.parametrize(
    "refusal",
    [
        EXPIRED,
        {"status": 400, "text": "Expired token"},
        {"status": 400, "text": '{"error":"Invalid JWT token"}'},
        {"status": 401, "text": "No token in request"},
        {"status": 403, "text": "Forbidden"},
    ],
)
async def test_a_renewal_is_tried_when_the_token_may_be_the_problem(
    peers: Peers, street: Street, refusal: dict[str, object]
) -> None:
    bob = Bob(refusal=refusal)
    link = link_to(await open_house(street, bob), Saved())
    assert (await peers.authorized(link, "POST", "/sharings/s1/_revs_diff")).ok


@pytest.mark.parametrize("status", [500, 502])
async def test_an_error_of_the_server_is_no_reason_to_renew(peers: Peers, street: Street, status: int) -> None:
    bob = Bob(refusal={"status": status, "text": "out of order"})
    link = link_to(await open_house(street, bob), Saved())
    assert (await peers.authorized(link, "POST", "/sharings/s1/_revs_diff")).status == status
    assert (bob.calls, bob.renewals) == (["access-1"], [])


DOUBTFUL = [400, 404, 409, 413, 422]


@pytest.mark.parametrize("status", DOUBTFUL)
async def test_a_dead_token_is_renewed_whatever_a_server_calls_it(peers: Peers, street: Street, status: int) -> None:
    bob = Bob(refusal={"status": status, "text": "no such session"})
    link = link_to(await open_house(street, bob), Saved())
    assert (await peers.authorized(link, "POST", "/sharings/s1/_revs_diff")).ok
    assert len(bob.renewals) == 1


@pytest.mark.parametrize("status", DOUBTFUL)
async def test_a_refusal_that_a_renewal_does_not_help_costs_one_request_from_then_on(
    peers: Peers, street: Street, status: int
) -> None:
    bob = Bob(good=set(), refusal={"status": status, "text": '{"errors":[{"detail":"A rule is invalid"}]}'})
    link = link_to(await open_house(street, bob), Saved())
    for _ in range(3):
        assert (await peers.authorized(link, "POST", "/sharings/s1/_revs_diff")).status == status
    assert (len(bob.calls), len(bob.renewals)) == (4, 1)


async def test_a_renewal_in_doubt_that_is_refused_leaves_the_answer_as_it_was(peers: Peers, street: Street) -> None:
    bob = Bob(
        refusal={"status": 404, "text": "This folder was not found"},
        renewed=web.json_response({"error": "invalid refresh token"}, status=400),
    )
    link = link_to(await open_house(street, bob), Saved())
    assert (await peers.authorized(link, "POST", "/sharings/s1/x")).status == 404


async def test_a_permanent_refusal_is_given_after_one_renewal(peers: Peers, street: Street) -> None:
    bob = Bob(good=set(), refusal={"status": 403, "text": "Forbidden"})
    link = link_to(await open_house(street, bob), Saved())
    assert (await peers.authorized(link, "POST", "/sharings/s1/_revs_diff")).status == 403
    assert (len(bob.calls), len(bob.renewals)) == (2, 1)


async def test_without_refresh_the_answer_is_given_as_it_is(peers: Peers, street: Street) -> None:
    bob = Bob()
    link = link_to(await open_house(street, bob), Saved())
    assert (await peers.authorized(link, "POST", "/sharings/s1/x", refresh=False)).status == 400
    assert (len(bob.calls), len(bob.renewals)) == (1, 0)


async def test_without_a_refresh_token_the_answer_is_given_as_it_is(peers: Peers, street: Street) -> None:
    bob = Bob()
    link = link_to(await open_house(street, bob), Saved(), refresh_token="")
    assert (await peers.authorized(link, "POST", "/sharings/s1/x")).status == 400
    assert (len(bob.calls), len(bob.renewals)) == (1, 0)


async def test_a_refused_renewal_says_so_and_saves_nothing(peers: Peers, street: Street) -> None:
    bob, saved = Bob(renewed=web.json_response({"error": "invalid refresh token"}, status=400)), Saved()
    link = link_to(await open_house(street, bob), saved)
    with pytest.raises(PeerRefusedTokens) as refused:
        await peers.authorized(link, "POST", "/sharings/s1/x")
    assert refused.value.status == 400
    assert (saved.changes, link.access_token) == ([], "access-1")
    for secret in ("access-1", "refresh-1", "secret-1"):
        assert secret not in str(refused.value) + repr(refused.value) + repr(link)


@pytest.mark.parametrize("token", [None, "", 7, "two words", "line\nbreak", "é"])
async def test_a_renewal_without_a_usable_token_is_garbage(peers: Peers, street: Street, token: object) -> None:
    bob, saved = Bob(renewed=web.json_response({"access_token": token})), Saved()
    link = link_to(await open_house(street, bob), saved)
    with pytest.raises(PeerGarbage):
        await peers.authorized(link, "POST", "/sharings/s1/x")
    assert saved.changes == []


async def test_many_calls_with_one_expired_token_renew_it_once(peers: Peers, street: Street) -> None:
    bob, saved = Bob(), Saved()
    url = await open_house(street, bob)
    links = [link_to(url, saved) for _ in range(12)]
    calls = [peers.authorized(link, "POST", "/sharings/s1/x") for link in links for _ in range(2)]
    responses = await asyncio.gather(*calls)
    assert {response.status for response in responses} == {200}
    assert (len(bob.renewals), len(saved.changes)) == (1, 1)
    assert {link.access_token for link in links} == {"access-2"}
    # a link read from the sharing before the renewal, used after it
    late = link_to(url, saved)
    assert (await peers.authorized(late, "POST", "/sharings/s1/x")).ok
    assert (len(bob.renewals), late.access_token) == (1, "access-2")


async def test_the_one_who_began_a_renewal_may_give_up(peers: Peers, street: Street) -> None:
    bob, saved, began, go = Bob(), Saved(), asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.Response:
        began.set()
        await go.wait()
        return await bob.renew(request)

    url = await street.web(("POST", "/auth/access_token", slowly), ("POST", "/sharings/{rest:.*}", bob.call))
    first = asyncio.create_task(peers.authorized(link_to(url, saved), "POST", "/sharings/s1/x"))
    await began.wait()
    second = asyncio.create_task(peers.authorized(link_to(url, saved), "POST", "/sharings/s1/x"))
    first.cancel()
    go.set()
    assert (await second).ok
    assert len(bob.renewals) == 1


# -- moved


def gone_to(address: str) -> dict[str, object]:
    """The refusal of a server whose people live at another address now."""
    error = {"status": "410", "title": "Cozy has been moved", "code": "moved", "links": {"related": address + "/"}}
    return {"status": 410, "text": json.dumps({"errors": [error]}), "content_type": "application/vnd.api+json"}


async def test_a_410_that_names_a_new_address_is_followed_for_good(peers: Peers, street: Street) -> None:
    bob, saved = Bob(), Saved()
    new = await open_house(street, bob, name="new")
    link = link_to(await open_house(street, Bob(good=set(), refusal=gone_to(new)), name="old"), saved)
    response = await peers.authorized(link, "POST", "/sharings/s1/x", body=b"again")
    assert response.json() == {"body": "again"}
    assert saved.changes == [TokensChanged("access-2", "refresh-1", new)]
    assert bob.calls == ["access-2"]


async def test_who_has_moved_again_is_followed_again(peers: Peers, street: Street) -> None:
    bob, saved = Bob(good={"access-3"}, extra={"access_token": "access-3"}), Saved()
    newest = await open_house(street, bob, name="newest")
    between = Bob(good=set(), refusal=gone_to(newest))
    new = await open_house(street, between, name="new")
    link = link_to(await open_house(street, Bob(good=set(), refusal=gone_to(new)), name="old"), saved)
    assert (await peers.authorized(link, "POST", "/sharings/s1/x")).ok
    assert [change.instance for change in saved.changes] == [new, newest]
    assert (between.calls, bob.calls) == (["access-2"], ["access-3"])


async def test_two_addresses_that_name_each_other_are_not_followed_for_ever(peers: Peers, street: Street) -> None:
    here, there = Bob(good=set()), Bob(good=set())
    one = await open_house(street, here, name="one")
    here.refusal = gone_to(await open_house(street, there, name="two"))
    there.refusal = gone_to(one)
    assert (await peers.authorized(link_to(one, Saved()), "POST", "/sharings/s1/x")).status == 410
    assert len(here.calls) + len(there.calls) <= 6


async def test_a_redirect_to_another_host_that_costs_the_token_is_followed_for_good(
    peers: Peers, street: Street
) -> None:
    bob, saved = Bob(refusal={"status": 401, "text": "No token in request"}), Saved()
    new = await open_house(street, bob, name="new")

    async def moved(request: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": new + request.raw_path})

    old = await street.web(("POST", "/{rest:.*}", moved), name="old")
    link = link_to(old, saved)
    assert (await peers.authorized(link, "POST", "/sharings/s1/x")).ok
    assert (link.instance, saved.changes[0].instance) == (new, new)
    assert bob.calls == ["", "access-2"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "javascript:x", "", 7, "http://user:pass@new.example/"])
async def test_a_410_without_a_usable_address_moves_nothing(peers: Peers, street: Street, target: object) -> None:
    bob = Bob(refusal={"status": 410, "text": ""})

    async def gone(request: web.Request) -> web.Response:
        return web.json_response({"errors": [{"links": {"related": target}}]}, status=410)

    async def no(request: web.Request) -> web.Response:
        return web.json_response({"error": "gone"}, status=410)

    url = await street.web(("POST", "/auth/access_token", no), ("POST", "/sharings/{rest:.*}", gone))
    saved = Saved()
    with pytest.raises(PeerRefusedTokens):
        await peers.authorized(link_to(url, saved), "POST", "/sharings/s1/x")
    assert (saved.changes, bob.calls) == ([], [])


# -- patience


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [(429, "17", 17), (429, "0", 1), (429, "soon", 1), (429, None, 1), (429, "99999999", 3600), (503, "5", 5)],
)
async def test_a_peer_that_asks_for_patience_gets_it(
    peers: Peers, street: Street, status: int, retry_after: str | None, seconds: float
) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": retry_after} if retry_after else {})

    url = await street.web(("POST", "/sharings/{rest:.*}", busy))
    with pytest.raises(PeerBusy) as asked:
        await peers.authorized(link_to(url, Saved()), "POST", "/sharings/s1/x")
    assert asked.value.retry_after == seconds


async def test_the_date_form_of_retry_after_is_understood(timed: Peers, street: Street) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "Thu, 01 Jan 2026 00:17:40 GMT"})

    url = await street.web(("POST", "/sharings/{rest:.*}", busy))
    with pytest.raises(PeerBusy) as asked:
        await timed.authorized(link_to(url, Saved()), "POST", "/sharings/s1/x")
    assert asked.value.retry_after == 60


# -- secrets


async def test_nothing_secret_is_logged(
    peers: Peers, street: Street, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # whatever other tests have set up for all logs of the process
    printed = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    monkeypatch.setattr("inglenook.peers.peers.log", printed)

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    link = link_to(await street.raw(cut), Saved())
    for _ in range(4):
        with pytest.raises(UpstreamFailed) as failed:
            await peers.authorized(link, "GET", "/sharings/s1/discovery?state=very-secret")
        assert "very-secret" not in str(failed.value)
        assert "access-1" not in str(failed.value)
    output = capsys.readouterr()
    assert "peer_left_alone" in output.out + output.err
    assert "very-secret" not in output.out + output.err
    assert "access-1" not in output.out + output.err
