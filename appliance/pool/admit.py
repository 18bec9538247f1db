"""First step: who is calling, and may they send a request now?

An API key is admitted by its hash. A browser session's cookie is admitted only for requests that the
box's own pages made (JSON, and same-origin by Sec-Fetch-Site or Origin), so no other site can spend it.
Keys and sessions are in memory, replaced as a whole when the database changes; nothing here reads a file.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.errors import NotTrusted, TryAgain
from appliance.people.api_keys import Caller, Callers
from appliance.pool.asgi import Headers

SESSION_COOKIE = "cellule_session"


class MissingKey(NotTrusted):
    code = "missing_api_key"


class InvalidKey(NotTrusted):
    code = "invalid_api_key"


class ExpiredKey(NotTrusted):
    code = "api_key_expired"


class RevokedKey(NotTrusted):
    code = "api_key_revoked"


class Forbidden(NotTrusted):
    """Known, but not allowed to do this."""

    code = "forbidden"
    http_status = 403
    openai_type = "permission_error"


class TooManyRequests(TryAgain):
    code = "rate_limit_exceeded"


@dataclass(frozen=True)
class RateState:
    """What a caller's budget was after a request: the numbers of the x-ratelimit-* headers."""

    limit: int
    remaining: int
    reset_seconds: float
    """Until the whole budget is there again."""
    retry_after_seconds: float
    """0 if the request was within the budget."""

    def headers(self) -> Headers:
        return [
            (b"x-ratelimit-limit-requests", b"%d" % self.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % self.remaining),
            (b"x-ratelimit-reset-requests", b"%.3fs" % self.reset_seconds),
        ]


class Budgets:
    """A token bucket for each limited caller: `requests_per_minute` at once, refilled evenly."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}
        """caller id → requests left, when (monotonic seconds)"""

    def take(self, caller: Caller, at: float) -> RateState | None:
        """Takes one request from the caller's budget at `at`; None if the caller has no limit."""
        limit = caller.requests_per_minute
        if limit is None:
            return None
        per_second = limit / 60
        left, since = self._buckets.get(caller.id, (float(limit), at))
        left = min(float(limit), left + (at - since) * per_second)
        wait = 0.0 if left >= 1 else (1 - left) / per_second
        if not wait:
            left -= 1
        self._buckets[caller.id] = (left, at)
        return RateState(limit, int(left), (limit - left) / per_second, wait)


def identify(headers: Mapping[bytes, bytes], method: str, callers: Callers, at: float) -> Caller:
    """The caller of a request with these headers (names in lower case), at epoch second `at`.

    Raises MissingKey, InvalidKey, ExpiredKey, RevokedKey, Forbidden.
    """
    authorization, cookie = headers.get(b"authorization"), headers.get(b"cookie")
    if authorization is not None:
        caller = _by_key(authorization, callers)
    elif cookie is not None and (token := _session_token(cookie)):
        caller = _by_session(token, headers, method, callers)
    else:
        raise MissingKey("No API key was given.", next_step="Send it as: Authorization: Bearer sk-cellule-…")
    if caller.revoked_at is not None:
        raise RevokedKey("This API key was revoked.", next_step="Ask your administrator for a new one.")
    if caller.expires_at is not None and caller.expires_at <= at:
        raise ExpiredKey(
            "This API key or session has expired.", next_step="Ask for a new key, or sign in again."
        )
    if caller.account_disabled:
        raise Forbidden("The account of this key is disabled.", next_step="Ask your administrator.")
    return caller


def refuse_over_budget(state: RateState) -> TooManyRequests | None:
    """The refusal of a request beyond the caller's budget."""
    if not state.retry_after_seconds:
        return None
    return TooManyRequests(
        f"This key may send {state.limit} requests per minute.",
        retry_after_seconds=state.retry_after_seconds,
        next_step="Wait, then repeat the request.",
    )


def _by_key(authorization: bytes, callers: Callers) -> Caller:
    scheme, _, secret = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not secret:
        raise MissingKey(
            "The Authorization header has no Bearer key.", next_step="Send: Authorization: Bearer KEY"
        )
    caller = callers.by_key_hash.get(hashlib.sha256(secret.strip()).hexdigest())
    if caller is None:
        raise InvalidKey(
            "This API key is not known.", next_step="Check it, or ask your administrator for one."
        )
    return caller


def _by_session(token: str, headers: Mapping[bytes, bytes], method: str, callers: Callers) -> Caller:
    caller = callers.by_session_hash.get(hashlib.sha256(token.encode()).hexdigest())
    if caller is None:
        raise InvalidKey("You are not signed in.", next_step="Sign in, or send an API key.")
    same_origin = headers.get(b"sec-fetch-site") == b"same-origin" or (
        b"sec-fetch-site" not in headers
        and bool(headers.get(b"host"))
        and headers.get(b"origin", b"").partition(b"://")[2] == headers.get(b"host")
    )
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if not same_origin or (method != "GET" and media_type != b"application/json"):
        raise Forbidden(
            "A browser session may call this only from the box's own pages.",
            next_step="Use an API key elsewhere.",
        )
    return caller


def _session_token(cookie: bytes) -> str | None:
    for part in cookie.decode("latin-1").split(";"):
        name, _, value = part.strip().partition("=")
        if name == SESSION_COOKIE:
            return value
    return None
