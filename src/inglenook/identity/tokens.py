"""The tokens of an instance: JWT signed by HMAC, one secret and one lifetime by audience (spec/03 §8.1, §8.2).

A token proves who speaks; what it may do is found by `caller`. Verified signatures are remembered in a bounded
cache, since a client sends the same token with each of its requests; age and issuer are checked each time.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from inglenook.kernel.errors import ExpiredToken, InvalidToken

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

APP: Final = "app"
KONNECTOR: Final = "konn"
ACCESS: Final = "access"
REFRESH: Final = "refresh"
REGISTRATION: Final = "registration"
SHARE: Final = "share"
CLI: Final = "cli"

APP_SECONDS = 24 * 3600
APP_WITHOUT_SESSION_SECONDS = 30 * 60
KONNECTOR_SECONDS = 30 * 60
ACCESS_SECONDS = 7 * 24 * 3600
CLI_SECONDS = 30 * 60

MAX_TOKEN = 8192  # characters
_REMEMBERED = 4096


class Claims(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a token says. `jti` makes two share codes of one name and second different (spec/03 §19.16)."""

    iss: str
    sub: str = ""
    aud: list[str] | str
    iat: float
    scope: str = ""
    session_id: str = ""
    stamp: str = ""
    client_id: str = ""
    jti: str = ""

    @property
    def audience(self) -> str:
        """The one audience; empty when there are several or none."""
        if isinstance(self.aud, str):
            return self.aud
        return self.aud[0] if len(self.aud) == 1 else ""


def issue(
    instance: Instance,
    audience: str,
    subject: str,
    *,
    scope: str = "",
    session_id: str = "",
    issued_at: int | None = None,
    unique: str = "",
) -> str:
    """A new token. `issued_at` is in seconds of Unix time, now by default; the lifetime counts from it."""
    claims: dict[str, Any] = {
        "iss": instance.domain,
        "sub": subject,
        "aud": [audience],
        "iat": int(instance.env.clock.now().timestamp()) if issued_at is None else issued_at,
    }
    more = {"scope": scope, "session_id": session_id, "jti": unique}
    claims.update({name: value for name, value in more.items() if value})
    key = OctKey.import_key(key_of(instance, audience))
    return jws.serialize_compact({"alg": "HS512", "typ": "JWT"}, msgspec.json.encode(claims), key, algorithms=["HS512"])


def verify(instance: Instance, token: str, *audiences: str) -> Claims:
    """The claims of a token of this instance, of one of these audiences.

    Raises InvalidToken (bad signature, other audience or issuer) and ExpiredToken."""
    claims = verify_ended(instance, token, *audiences)
    seconds = lifetime(claims)
    if seconds is not None and claims.iat + seconds < instance.env.clock.now().timestamp():
        raise ExpiredToken
    return claims


def verify_ended(instance: Instance, token: str, *audiences: str) -> Claims:
    """The claims of a token of this instance, also when its time is over. Raises InvalidToken."""
    claims = _signed(instance, token, audiences)
    if claims.iss != instance.doc.domain and (not instance.doc.old_domain or claims.iss != instance.doc.old_domain):
        raise InvalidToken
    return claims


def lifetime(claims: Claims) -> int | None:
    """How many seconds after its issue a token ends, None for never."""
    match claims.audience:
        case "app":
            return APP_SECONDS if claims.session_id else APP_WITHOUT_SESSION_SECONDS
        case "konn":
            return KONNECTOR_SECONDS
        case "access":
            return ACCESS_SECONDS
        case "cli":
            return CLI_SECONDS
        case _:
            return None


def key_of(instance: Instance, audience: str) -> bytes:
    """The secret that signs an audience."""
    if audience in (APP, KONNECTOR):
        return instance.session_key
    if audience == CLI:
        return instance.doc.cli_secret
    return instance.doc.oauth_secret


def unverified(token: str) -> Claims | None:
    """What a token claims, without a look at its signature; None when it cannot be read."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > MAX_TOKEN:
        return None
    try:
        payload = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(payload, type=Claims)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None


_verified: OrderedDict[str, tuple[bytes, Claims]] = OrderedDict()


def _signed(instance: Instance, token: str, audiences: tuple[str, ...]) -> Claims:
    remembered = _verified.get(token)
    if remembered is not None:
        key, claims = remembered
        if claims.audience in audiences and key == key_of(instance, claims.audience):
            _verified.move_to_end(token)
            return claims
    claims = unverified(token)
    if claims is None or not claims.audience or claims.audience not in audiences:
        raise InvalidToken
    key = key_of(instance, claims.audience)
    try:
        jws.deserialize_compact(token, OctKey.import_key(key), algorithms=["HS256", "HS384", "HS512"])
    except (JoseError, ValueError) as error:
        raise InvalidToken from error
    _verified[token] = (key, claims)
    if len(_verified) > _REMEMBERED:
        _verified.popitem(last=False)
    return claims
