"""Tokens that look right: other algorithms, other keys, other audiences (RFC 8725, spec/03 §8)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from tests.servers import Person

from inglenook.identity import tokens

NOW = 1_782_907_200  # 2026-07-01T12:00:00Z, when the server's clock starts


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def made(claims: dict[str, Any], key: bytes, header: dict[str, Any] | None = None, digest: str = "sha512") -> str:
    """A token signed by HMAC, whatever its header says."""
    signed = f"{segment(header or {'alg': 'HS512', 'typ': 'JWT'})}.{segment(claims)}"
    return f"{signed}.{segment(hmac.digest(key, signed.encode(), digest))}"


def claims(person: Person, **changes: Any) -> dict[str, Any]:
    usual = {
        "iss": person.domain, "sub": person.client_id, "aud": ["access"], "iat": NOW, "scope": "io.cozy.tests",
    }  # fmt: skip
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def status(person: Person, token: str) -> int:
    answer = person.get("/permissions/self", token=token)
    if answer.status_code != 200:
        assert answer.status_code in (400, 401, 403), answer.text
    return answer.status_code


def secret(person: Person) -> bytes:
    return person.instance.doc.oauth_secret


def test_the_forger_knows_how_to_make_a_right_one(alice: Person) -> None:
    assert status(alice, made(claims(alice), secret(alice))) == 200
    for algorithm, digest in (("HS256", "sha256"), ("HS384", "sha384")):
        header = {"alg": algorithm, "typ": "JWT"}
        assert status(alice, made(claims(alice), secret(alice), header, digest)) == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "RS256", "ES256", "PS512", "EdDSA", "dir"])
def test_no_other_algorithm_is_taken(alice: Person, algorithm: str) -> None:
    header = {"alg": algorithm, "typ": "JWT"}
    unsigned = f"{segment(header)}.{segment(claims(alice))}."
    assert status(alice, unsigned) == 400
    assert status(alice, unsigned + segment(b"x")) == 400
    assert status(alice, made(claims(alice), secret(alice), header)) == 400


@pytest.mark.parametrize("key", [b"", b"\0", b"secret", hashlib.sha256(b"").digest()])
def test_no_guessed_key_is_right(alice: Person, key: bytes) -> None:
    assert status(alice, made(claims(alice), key)) == 400


def test_a_key_in_the_header_is_not_believed(alice: Person) -> None:
    own = b"k" * 64
    jwk = {"kty": "oct", "k": segment(own)}
    for extra in (
        {"jwk": jwk},
        {"jku": "http://127.0.0.1:1/keys"},
        {"kid": "../../../../dev/null"},
        {"x5u": "http://x"},
    ):
        assert status(alice, made(claims(alice), own, {"alg": "HS512", **extra})) == 400
    critical = {"alg": "HS512", "crit": ["exp"], "exp": 1}
    assert status(alice, made(claims(alice), secret(alice), critical)) == 400


@pytest.mark.parametrize(
    ("audience", "key_of"),
    [
        ("app", "oauth"), ("app", "cli"), ("cli", "oauth"), ("cli", "session"),
        ("access", "cli"), ("access", "session"),
        ("share", "cli"), ("konn", "oauth"),
    ],
)  # fmt: skip
def test_an_audience_has_a_key_of_its_own(alice: Person, audience: str, key_of: str) -> None:
    doc = alice.instance.doc
    key = {"oauth": doc.oauth_secret, "cli": doc.cli_secret, "session": alice.instance.session_key}[key_of]
    subject = "mini" if audience == "app" else alice.client_id
    assert status(alice, made(claims(alice, aud=[audience], sub=subject), key)) == 400


@pytest.mark.parametrize(
    "audience",
    [["access", "app"], ["access", "access"], [], "", None, ["registration"], ["refresh"], ["other"], [1], 1, {}],
)  # fmt: skip
def test_only_one_known_audience_is_a_bearer(alice: Person, audience: Any) -> None:
    assert status(alice, made(claims(alice, aud=audience), secret(alice))) == 400


def test_a_single_audience_may_be_a_plain_text(alice: Person) -> None:
    assert status(alice, made(claims(alice, aud="access"), secret(alice))) == 200


@pytest.mark.parametrize("issuer", [None, "", "bob.localhost", "alice.localhost", "ALICE.localhost", "*"])
def test_the_issuer_is_this_instance_with_its_port(alice: Person, issuer: str | None) -> None:
    assert status(alice, made(claims(alice, iss=issuer), secret(alice))) == 400


@pytest.mark.parametrize("moment", [None, "now", "1e999", [], -1, 0, NOW - 8 * 86_400])
def test_a_token_without_a_recent_date_is_nothing(alice: Person, moment: Any) -> None:
    assert status(alice, made(claims(alice, iat=moment), secret(alice))) == 400


def test_infinite_dates_are_no_dates(alice: Person) -> None:
    for text in ("1e999", "Infinity", "NaN", "-1e999"):
        payload = json.dumps(claims(alice)).replace(str(NOW), text).encode()
        signed = f"{segment({'alg': 'HS512', 'typ': 'JWT'})}.{segment(payload)}"
        token = f"{signed}.{segment(hmac.digest(secret(alice), signed.encode(), 'sha512'))}"
        assert status(alice, token) == 400


@pytest.mark.parametrize("token", ["a.b.c", "....", "a" * 20_000, "é.é.é", "e30.e30.e30", "null", "%00", "a.b"])
def test_what_is_no_token_is_refused(alice: Person, token: str) -> None:
    answer = alice.http.get("/permissions/self", params={"bearer_token": token})
    assert answer.status_code in (400, 403)


def test_a_signature_cannot_be_cut_or_lengthened(alice: Person) -> None:
    right = made(claims(alice), secret(alice))
    head, body, signature = right.split(".")
    for wrong in ("", signature[:-4], signature[: len(signature) // 2], signature + "AAAA", signature.swapcase()):
        assert status(alice, f"{head}.{body}.{wrong}") == 400
    wider = segment(claims(alice, scope="io.cozy.files"))
    assert status(alice, f"{head}.{wider}.{signature}") == 400


def test_a_remembered_signature_is_not_lent_to_other_claims(alice: Person) -> None:
    right = made(claims(alice), secret(alice))
    assert status(alice, right) == 200
    assert status(alice, right.upper()) == 400


def test_everything_needs_a_client_that_the_operator_has_certified(alice: Person) -> None:
    assert status(alice, tokens.issue(alice.instance, tokens.ACCESS, alice.client_id, scope="*")) == 400
    assert status(alice, tokens.issue(alice.instance, tokens.CLI, "CLI", scope="*")) == 400


def test_the_scope_of_an_app_that_is_not_installed_opens_nothing(alice: Person) -> None:
    scope = "@io.cozy.apps/nothing"
    assert status(alice, tokens.issue(alice.instance, tokens.ACCESS, alice.client_id, scope=scope)) == 400


def test_a_share_token_that_no_document_lists_opens_nothing(alice: Person) -> None:
    assert status(alice, tokens.issue(alice.instance, tokens.SHARE, "code")) == 403
