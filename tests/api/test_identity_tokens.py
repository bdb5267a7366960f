"""Signed values and tokens: what verifies, what does not, and when it ends (spec/03 §3, §8)."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clocks import SteppedClock

from inglenook.environment import Config, Environment, Randomness
from inglenook.identity import auth_message, links, one_time, passphrase_hash, tokens
from inglenook.identity.instance import Instance, InstanceDoc
from inglenook.kernel.errors import ExpiredToken, InvalidParameter, InvalidToken


def an_instance(clock: SteppedClock, **changes: object) -> Instance:
    """An instance that is only its document: enough for signing."""
    doc = InstanceDoc(
        domain="alice.localhost:8080", prefix="cozy0", session_secret=b"s" * 64, oauth_secret=b"o" * 128,
        cli_secret=b"c" * 128,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(doc, name, value)
    instance = Instance.__new__(Instance)
    instance.id, instance.doc, instance.env = "i", doc, Environment(Config(dev=True), clock)
    return instance


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def payload(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


# -- auth messages


@given(st.binary(max_size=64), st.text(st.characters(codec="ascii"), max_size=20), st.binary(max_size=20))
def test_a_signed_value_is_read_back_by_its_name_and_key_only(value: bytes, name: str, extra: bytes) -> None:
    text = auth_message.sign(b"key", name, value, 1_700_000_000, extra)
    assert auth_message.verify(b"key", name, text, extra) == value
    assert auth_message.verify(b"other", name, text, extra) is None
    assert auth_message.verify(b"key", name + "x", text, extra) is None
    assert auth_message.verify(b"key", name, text, extra + b"x") is None
    assert "=" not in text


@given(st.text(max_size=300))
def test_no_garbage_verifies(text: str) -> None:
    assert auth_message.verify(b"key", "name", text) is None


# -- JWT


def test_a_token_has_the_claims_and_the_algorithm_of_the_wire(clock: SteppedClock) -> None:
    alice = an_instance(clock)
    token = tokens.issue(alice, tokens.ACCESS, "client1", scope="io.cozy.files:GET")
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == {"alg": "HS512", "typ": "JWT"}
    assert payload(token) == {
        "iss": "alice.localhost:8080", "sub": "client1", "aud": ["access"], "iat": int(clock.now().timestamp()),
        "scope": "io.cozy.files:GET",
    }  # fmt: skip
    assert tokens.verify(alice, token, tokens.ACCESS).sub == "client1"


@pytest.mark.parametrize(
    ("audience", "session", "life"),
    [("app", "s1", 24 * 3600), ("app", "", 1800), ("konn", "", 1800), ("access", "", 7 * 86400), ("cli", "", 1800)],
)
def test_a_token_ends_after_the_life_of_its_audience(
    clock: SteppedClock, audience: str, session: str, life: int
) -> None:
    alice = an_instance(clock)
    token = tokens.issue(alice, audience, "x", session_id=session)
    clock.step(life - 1)
    tokens.verify(alice, token, audience)
    clock.step(2)
    with pytest.raises(ExpiredToken):
        tokens.verify(alice, token, audience)


@pytest.mark.parametrize("audience", ["refresh", "registration", "share"])
def test_some_tokens_never_end(clock: SteppedClock, audience: str) -> None:
    alice = an_instance(clock)
    token = tokens.issue(alice, audience, "x")
    clock.step(20 * 365 * 86400)
    assert tokens.verify(alice, token, audience).sub == "x"


def test_each_audience_has_a_key_of_its_own_and_only_asked_audiences_pass(clock: SteppedClock) -> None:
    alice = an_instance(clock)
    token = tokens.issue(alice, tokens.CLI, "CLI", scope="io.cozy.files")
    with pytest.raises(InvalidToken):
        tokens.verify(alice, token, tokens.ACCESS, tokens.REFRESH)
    head, _, sign = token.split(".")
    forged = payload(token) | {"aud": ["access"]}
    part = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidToken):
        tokens.verify(alice, f"{head}.{part}.{sign}", tokens.ACCESS)


def test_a_new_session_secret_ends_app_tokens_even_those_seen_before(clock: SteppedClock) -> None:
    alice = an_instance(clock)
    app, access = tokens.issue(alice, tokens.APP, "drive"), tokens.issue(alice, tokens.ACCESS, "c")
    tokens.verify(alice, app, tokens.APP)
    alice.doc.session_secret = b"n" * 64
    with pytest.raises(InvalidToken):
        tokens.verify(alice, app, tokens.APP)
    tokens.verify(alice, access, tokens.ACCESS)


def test_the_issuer_is_the_domain_or_the_former_domain(clock: SteppedClock) -> None:
    bob = an_instance(clock, domain="bob.localhost:8080")
    token = tokens.issue(bob, tokens.ACCESS, "c")
    alice = an_instance(clock)
    with pytest.raises(InvalidToken):
        tokens.verify(alice, token, tokens.ACCESS)
    moved = an_instance(clock, old_domain="bob.localhost:8080")
    assert tokens.verify(moved, token, tokens.ACCESS).sub == "c"


def test_audiences_may_be_a_text_and_iat_is_mandatory(clock: SteppedClock) -> None:
    from joserfc import jws
    from joserfc.jwk import OctKey

    alice = an_instance(clock)
    key = OctKey.import_key(alice.doc.oauth_secret)

    def signed(**claims: object) -> str:
        body = json.dumps({"iss": alice.domain, "sub": "c", "aud": "access", "iat": 1_700_000_000, **claims})
        return jws.serialize_compact({"alg": "HS256"}, body, key)

    now = int(clock.now().timestamp())
    assert tokens.verify(alice, signed(iat=now), tokens.ACCESS).audience == "access"
    for bad in ({"iat": None}, {"iat": "now"}, {"aud": ["access", "cli"], "iat": now}, {"aud": [], "iat": now}):
        with pytest.raises(InvalidToken):
            tokens.verify(alice, signed(**bad), tokens.ACCESS)


@given(st.text(max_size=200))
def test_garbage_is_an_invalid_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(an_instance(SteppedClock()), text, tokens.ACCESS, tokens.APP, tokens.SHARE)


# -- codes and durations


def test_two_share_codes_of_one_name_and_second_differ(clock: SteppedClock) -> None:
    alice = an_instance(clock)
    assert links.new_code(alice, "bob") != links.new_code(alice, "bob")


@pytest.mark.parametrize("length", [6, 12, 32])
def test_short_codes_have_their_length_and_alphabet(length: int) -> None:
    code = links.short_code(Randomness(), length)
    assert len(code) == length
    assert code.isdigit() if length == 6 else code.isalnum() and code.isascii()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("1h", 3600), ("1D", 86400), ("2W", 1209600), ("1M", 2592000), ("1Y", 31536000), ("1h30m", 5400)],
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert links.duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "soon", "1", "1x", "-1h", "0s", "1h ", "h"])
def test_an_unreadable_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        links.duration(text)


# -- passphrases and second factors


@pytest.mark.anyio
async def test_the_browser_hash_is_the_one_of_the_specification() -> None:
    got = await passphrase_hash.client_hash("cozy", passphrase_hash.salt_of("alice.localhost:8081"))
    assert got == "rT0/otSd6B7+9/QngOT4OZrIq03mLGpmaq64RAWKey8="  # recorded from a reference server
    assert passphrase_hash.looks_hashed(got)


@pytest.mark.anyio
async def test_the_server_keeps_scrypt_and_recognises_it() -> None:
    stored = await passphrase_hash.server_hash("value", b"0123456789abcdef")
    assert stored.startswith("scrypt$32768$8$1$30313233343536373839616263646566$")
    assert await passphrase_hash.check(stored, "value")
    assert not await passphrase_hash.check(stored, "other")
    assert not passphrase_hash.needs_renewal(stored)
    assert not await passphrase_hash.check("scrypt$x$8$1$00$00", "value")
    assert not await passphrase_hash.check("", "")


def test_a_passcode_has_six_digits_and_lasts_fourteen_minutes(clock: SteppedClock) -> None:
    alice = an_instance(clock)
    token = auth_message.sign(alice.session_key, "totp", b"r" * 32, 0)
    now = clock.now().timestamp()
    code = one_time.passcode_of(alice, token, now)
    assert code is not None
    assert len(code) == 6
    assert code.isdigit()
    assert one_time.passcode_of(alice, token, now + 3600) != code
    assert one_time.passcode_of(alice, "garbage", now) is None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
