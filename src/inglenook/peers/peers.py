"""The one door to other servers (DESIGN, idea 4; spec/05 §20; spec/04 §1.3, §14).

Whatever this server asks another one goes through `Peers`: redirects and the judgement of addresses, time-outs,
budgets and the circuit breaker of each host, renewal of tokens. A host that is dead or hangs costs its own callers
a quick error, and nobody else anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeGuard, TypeVar
from urllib.parse import urlencode

import structlog
from multidict import CIMultiDict

from inglenook.environment import Environment
from inglenook.kernel.errors import UpstreamFailed
from inglenook.peers import extensions
from inglenook.peers.addresses import AddressPolicy, host_of, origin_of, parse_url
from inglenook.peers.errors import (
    PeerBusy,
    PeerCircuitOpen,
    PeerForbiddenAddress,
    PeerGarbage,
    PeerRefusedTokens,
    PeerTimeout,
    PeerUnreachable,
)
from inglenook.peers.links import Doubts, PeerLink, Replacements, TokensChanged, new_address, renewal_may_help
from inglenook.peers.network import AiohttpTransport
from inglenook.peers.redirects import MAX_REDIRECTS, redirected
from inglenook.peers.states import Host, Hosts, PeerState, Recovery
from inglenook.peers.transport import MAX_BODY, TRANSFER, Body, Limits, PeerRequest, PeerResponse, PeerStream, Transport

__all__ = ["TRANSFER", "Limits", "PeerLink", "PeerResponse", "PeerStream", "Peers", "TokensChanged"]

USER_AGENT = "go-cozy-client"
"""What servers call themselves on the wire (spec/04 §1.3)."""

AILING = frozenset({502, 503, 504})
"""Answers of a proxy whose server is not there: the host is up, the service is not."""

MOST_MOVES = 5
"""Addresses that are followed one after the other in one exchange."""

PATIENCE = 1.0
LONGEST_PATIENCE = 3600.0
NUDGES = 1.0
"""Seconds between two wake-ups that a host can cause by calling us."""

log = structlog.get_logger("inglenook.peers")


class Answer(Protocol):
    """What an exchange gives: a whole response or a stream."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> CIMultiDict[str]: ...


A = TypeVar("A", bound=Answer)


class Peers:
    """All exchanges with other servers."""

    def __init__(self, env: Environment, transport: Transport | None = None) -> None:
        self._env = env
        self._policy = AddressPolicy(development=env.config.dev)
        self._transport: Transport = transport or AiohttpTransport(self._policy)
        self._hosts = Hosts()
        self._replacements = Replacements()
        self._doubts = Doubts()
        self._renewals: dict[tuple[str, str, str], asyncio.Task[TokensChanged]] = {}

    # -- exchanges

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        timeout: float | Limits = 10.0,  # noqa: ASYNC109 -- finer than a mere deadline
        max_body: int = MAX_BODY,
    ) -> PeerResponse:
        """One exchange, redirects followed; the answer is given whatever its status.

        `url` is percent-encoded already. `body` may be a function that gives an async iterator; it is called anew
        for each sending. `timeout` is the total in seconds, or finer `Limits` (`TRANSFER` for contents).
        Raises PeerUnreachable, PeerTimeout, PeerGarbage, PeerForbiddenAddress, PeerCircuitOpen.
        """
        request = self._prepared(method, url, headers, body, timeout, max_body)
        started = self._env.clock.monotonic()
        for hop in range(MAX_REDIRECTS + 1):
            current = self._with_time_left(request, started) if hop else request
            host = self._judged(current)
            async with self._place(host, current.limits):
                response = await self._attempt(host, lambda r=current: self._transport.send(r))
            following = redirected(request, response.status, response.headers)
            if following is None:
                return response
            request = following
        raise PeerForbiddenAddress(f"{host_of(url)} redirects again and again")

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        timeout: float | Limits = TRANSFER,  # noqa: ASYNC109
    ) -> AsyncGenerator[PeerStream]:
        """As `request`, for an answer of any size: its body is read inside the context, chunk by chunk."""
        request = self._prepared(method, url, headers, body, timeout, MAX_BODY)
        started = self._env.clock.monotonic()
        for hop in range(MAX_REDIRECTS + 1):
            current = self._with_time_left(request, started) if hop else request
            host = self._judged(current)
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._place(host, current.limits))
                opened = self._transport.open(current)
                stream = await self._attempt(host, lambda o=opened, s=stack: s.enter_async_context(o))
                following = redirected(request, stream.status, stream.headers)
                if following is None:
                    yield stream
                    return
            request = following
        raise PeerForbiddenAddress(f"{host_of(url)} redirects again and again")

    async def authorized(
        self,
        link: PeerLink,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        timeout: float | Limits = 10.0,  # noqa: ASYNC109 -- finer than a mere deadline
        max_body: int = MAX_BODY,
        refresh: bool = True,
    ) -> PeerResponse:
        """One exchange with the bearer token of a link; `path` starts with a slash and may carry a query.

        When the answer says that the token has ended or the peer has moved, the token is renewed (once for all
        concurrent users of it), saved through the link, and the request sent once more, unless `refresh` is False; a
        peer that has moved again is followed again.
        Another 4xx may mean the same in the words of another server: that is tried too, but not again and again.
        The answer is given whatever its status. Raises as `request`; PeerRefusedTokens when the renewal is refused;
        PeerBusy when the peer asks for patience (429, or any answer of 503 with Retry-After).
        """

        async def send() -> PeerResponse:
            given = {**(headers or {}), "Authorization": f"Bearer {link.access_token}"}
            url = origin_of(link.instance) + path
            response = await self.request(method, url, headers=given, body=body, timeout=timeout, max_body=max_body)
            self._respect_patience(response)
            return response

        for renewed in range(MOST_MOVES):
            used, called = link.access_token, origin_of(link.instance)
            response = await send()
            if not refresh or not 400 <= response.status < 500:
                return response
            moved = new_address(called, response)
            if renewed and moved is None:
                return response
            sure = moved is not None or renewal_may_help(response)
            if not sure and not self._doubts.worth_trying(link, self._env.clock.monotonic()):
                return response
            try:
                if not await self._renew(link, used, moved):
                    return response
            except UpstreamFailed:
                if sure:
                    raise
                return response
        return await send()

    # -- what is known of the other servers

    def states(self) -> list[PeerState]:
        """What is known of every host in use lately, by name."""
        return sorted((self._state(host) for host in self._hosts), key=lambda state: state.host)

    def state(self, address: str) -> PeerState | None:
        """What is known of one host; None when it was not in use lately."""
        host = self._hosts.known(host_of(address))
        return self._state(host) if host else None

    def extensions(self, address: str) -> Mapping[str, int]:
        """The extensions that the last answer of a host announced, with their versions (spec/11 §1)."""
        host = self._hosts.known(host_of(address))
        return host.extensions if host else {}

    def speaks(self, address: str, extension: str) -> bool:
        """Whether a host and this server both speak an extension, in the same version."""
        version = extensions.spoken(self._env.config).get(extension)
        return version is not None and self.extensions(address).get(extension) == version

    def forget_extensions(self, address: str) -> None:
        """A route of an extension is not there after all."""
        host = self._hosts.known(host_of(address))
        if host:
            host.extensions = {}

    def on_recovery(self, address: str, callback: Recovery) -> Callable[[], None]:
        """Be called whenever a host answers again after failures; gives the function that ends this."""
        recoveries = self._hosts.get(host_of(address)).recoveries
        recoveries.append(callback)

        def end() -> None:
            if callback in recoveries:
                recoveries.remove(callback)

        return end

    def retry(self, address: str) -> bool:
        """Try a host again now, and wake who waits for it (`peers retry`); False when nothing is known of it."""
        host = self._hosts.known(host_of(address))
        if host is None:
            return False
        host.circuit.allow_now()
        self._wake(host)
        return True

    def heard_from(self, address: str) -> None:
        """A server called us: if we had left it alone, it is worth a try now."""
        host = self._hosts.known(host_of(address))
        now = self._env.clock.monotonic()
        if host and host.ailing and now - host.nudged >= NUDGES:
            host.nudged = now
            host.circuit.allow_now()
            self._wake(host)

    async def close(self) -> None:
        """End what is going on and close the connections."""
        for task in list(self._renewals.values()):
            task.cancel()
        await asyncio.gather(*self._renewals.values(), return_exceptions=True)
        await self._transport.close()

    # -- one exchange

    def _prepared(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: Body,
        timeout: float | Limits,
        max_body: int,
    ) -> PeerRequest:
        limits = timeout if isinstance(timeout, Limits) else Limits(total=timeout)
        given = {"User-Agent": USER_AGENT, **(headers or {})}
        return PeerRequest(method.upper(), str(parse_url(url)), given, body, limits, max_body)

    def _with_time_left(self, request: PeerRequest, started: float) -> PeerRequest:
        total = request.limits.total
        if total is None:
            return request
        left = total - (self._env.clock.monotonic() - started)
        if left <= 0:
            raise PeerTimeout(f"{host_of(request.url)} did not answer in time")
        return replace(request, limits=replace(request.limits, total=left))

    def _judged(self, request: PeerRequest) -> Host:
        url = parse_url(request.url)
        self._policy.check(url)
        return self._hosts.get(host_of(url))

    @asynccontextmanager
    async def _place(self, host: Host, limits: Limits) -> AsyncGenerator[None]:
        """A place in the budget of the host; waiting for it is part of the time allowed."""
        self._check_circuit(host)
        budget = host.transfers if limits.total is None else host.exchanges
        host.in_flight += 1
        try:
            if budget.locked():
                try:
                    async with asyncio.timeout(limits.total):
                        await budget.acquire()
                except TimeoutError as error:
                    raise PeerTimeout(f"Too many requests wait for {host.name}") from error
            else:
                await budget.acquire()
            try:
                yield
            finally:
                budget.release()
        finally:
            host.in_flight -= 1

    def _check_circuit(self, host: Host) -> None:
        wait = host.circuit.wait(self._env.clock.monotonic())
        if wait > 0:
            raise PeerCircuitOpen(host.name, wait)

    async def _attempt(self, host: Host, exchange: Callable[[], Awaitable[A]]) -> A:
        self._check_circuit(host)  # it may have opened while this one waited for its place
        probe = host.circuit.enter()
        started = self._env.clock.monotonic()
        try:
            answer = await exchange()
        except (PeerUnreachable, PeerTimeout, PeerGarbage) as error:
            self._failed(host, error.detail, probe=probe)
            raise
        except BaseException:
            host.circuit.abandoned(probe=probe)
            raise
        host.observe(self._env.clock.monotonic() - started)
        self._answered(host, answer)
        return answer

    def _answered(self, host: Host, answer: Answer) -> None:
        if host.circuit.is_open:
            log.info("peer_answers_again", host=host.name)
        host.circuit.succeeded()
        announced = answer.headers.get(extensions.HEADER, "")
        if announced or host.extensions:
            host.extensions = extensions.announced(announced)
        if answer.status in AILING:
            self._note_error(host, f"{host.name} answered {answer.status}")
            return
        host.last_success = self._env.clock.now()
        if host.ailing:
            host.ailing = False
            self._wake(host)

    def _failed(self, host: Host, detail: str, *, probe: bool) -> None:
        was_open = host.circuit.is_open
        host.circuit.failed(self._env.clock.monotonic(), self._env.random.uniform(), probe=probe)
        self._note_error(host, detail)
        log.info("peer_failed", host=host.name, error=detail, failures=host.circuit.failures)
        if host.circuit.is_open and not was_open:
            log.warning("peer_left_alone", host=host.name, error=detail)

    def _note_error(self, host: Host, detail: str) -> None:
        host.ailing = True
        host.last_error = detail
        host.last_error_at = self._env.clock.now()

    def _wake(self, host: Host) -> None:
        for callback in list(host.recoveries):
            callback()

    def _respect_patience(self, response: PeerResponse) -> None:
        asked = response.headers.get("Retry-After", "")
        if response.status == 429 or (response.status == 503 and asked):
            raise PeerBusy(host_of(response.url), self._patience(asked))

    def _patience(self, asked: str) -> float:
        """Seconds named by Retry-After, a number or a date (RFC 9110 §10.2.3)."""
        try:
            if asked.isascii() and asked.isdigit():
                seconds = float(asked[:9])
            else:
                seconds = (parsedate_to_datetime(asked) - self._env.clock.now()).total_seconds()
        except (ValueError, TypeError):
            seconds = PATIENCE
        return min(max(seconds, PATIENCE), LONGEST_PATIENCE)

    def _state(self, host: Host) -> PeerState:
        circuit = host.circuit
        wait = circuit.wait(self._env.clock.monotonic())
        return PeerState(
            host=host.name,
            state="open" if circuit.is_open else "failing" if host.ailing else "ok",
            in_flight=host.in_flight,
            latency_ms=None if host.latency is None else round(host.latency * 1000, 3),
            failures=circuit.failures,
            last_success=host.last_success,
            last_error=host.last_error,
            last_error_at=host.last_error_at,
            next_try=self._env.clock.now() + timedelta(seconds=wait) if circuit.is_open else None,
            waiting=len(host.recoveries),
            extensions=dict(host.extensions),
        )

    # -- renewal of tokens

    async def _renew(self, link: PeerLink, used: str, moved: str | None) -> bool:
        """Bring a link up to date after its token or address failed; False when there is no way to."""
        if link.access_token != used and moved is None:
            return True  # another user of the same link was faster
        change = self._replacements.of(link, used)
        if change is not None and moved is not None and origin_of(change.instance) != moved:
            change = None
        if change is None and not link.refresh_token:
            if moved is None:
                return False
            change = TokensChanged(link.access_token, "", moved)
            await link.save(change)
        if change is None:
            change = await self._renewed(link, used, moved or link.instance)
        link.take(change)
        return True

    async def _renewed(self, link: PeerLink, used: str, instance: str) -> TokensChanged:
        key = (link.client_id, link.refresh_token, instance)
        task = self._renewals.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_for_tokens(replace(link), used, instance))
            self._renewals[key] = task
            task.add_done_callback(lambda done: self._renewal_ended(key, done))
        # shielded: the renewal is everybody's, also when the one who began it gives up
        return await asyncio.shield(task)

    def _renewal_ended(self, key: tuple[str, str, str], task: asyncio.Task[TokensChanged]) -> None:
        self._renewals.pop(key, None)
        if not task.cancelled() and task.exception() is not None:
            log.info("peer_tokens_not_renewed", host=host_of(key[2]), error=type(task.exception()).__name__)

    async def _ask_for_tokens(self, link: PeerLink, used: str, instance: str) -> TokensChanged:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": link.refresh_token,
            "client_id": link.client_id,
            "client_secret": link.client_secret,
        }
        response = await self.request(
            "POST",
            f"{origin_of(instance)}/auth/access_token",
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
                "Authorization": f"Bearer {used}",
            },
            body=urlencode(form).encode(),
        )
        self._respect_patience(response)
        if not response.ok:
            raise PeerRefusedTokens(host_of(instance), response.status)
        tokens = response.json()
        access = tokens.get("access_token") if isinstance(tokens, dict) else None
        if not is_token(access):
            raise PeerGarbage(f"{host_of(instance)} gave no usable token")
        renewed = tokens.get("refresh_token")
        change = TokensChanged(access, renewed if is_token(renewed) else link.refresh_token, instance)
        await link.save(change)
        self._replacements.add(link, used, change)
        return change


def is_token(value: object) -> TypeGuard[str]:
    """Whether a value can be sent as a bearer token: printable ASCII, not empty."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable() and " " not in value
