"""The errors of the client: one class for each kind, under `ChatError`."""

from __future__ import annotations

import email.utils
import time
from typing import Any

#: The API asks for no longer wait, in seconds.
LONGEST_RETRY_AFTER = 3600.0


class ChatError(Exception):
    """The base of all errors of this package."""


class NetworkError(ChatError):
    """No answer arrived. The server may have carried out the request."""


class UnexpectedAnswerError(NetworkError):
    """An answer that is not the API's arrived: a redirect, or the page of a proxy. The network may need a login."""

    def __init__(self, status: int) -> None:
        super().__init__(f"an answer with status {status} is not the API's")
        self.status = status


class NotLoggedInError(ChatError):
    """The operation needs a session, and the client has none."""


class ApiError(ChatError):
    """An error answer of the API.

    `code` is the `error` of the body, `retry_after` the seconds of `Retry-After`, an hour at most, and `fields` the
    entries of `validation_errors`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        request_id: str | None = None,
        retry_after: float | None = None,
        fields: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}" if code else f"{status}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.retry_after = retry_after
        self.fields = fields or []


class InvalidRequestError(ApiError):
    """400 and other client errors without a class of their own: the request breaks a rule that `code` names."""


class ValidationError(ApiError):
    """422: the input is invalid. `fields` names each invalid field."""


class AuthenticationError(ApiError):
    """401: the credentials or the access token are not valid."""


class SecondFactorError(AuthenticationError):
    """401 `MFA_REQUIRED` or `MFA_INVALID`: the code of the second factor is missing or wrong."""


class SessionEndedError(AuthenticationError):
    """The refresh token is no longer valid. The user has to log in again."""


class PermissionDeniedError(ApiError):
    """403: the caller may not do this, `BLOCKED` for example."""


class NotFoundError(ApiError):
    """404: the resource does not exist, or the caller may not see it."""


class ConflictError(ApiError):
    """409: the resource exists already."""


class RateLimitError(ApiError):
    """429: too many requests. `retry_after` is the time to wait."""


class UnavailableError(ApiError):
    """408, 502, 503 or 504: the server cannot answer now. The same request may succeed later."""


class ServerError(ApiError):
    """500 or another server error."""


BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: UnavailableError,
    409: ConflictError,
    422: ValidationError,
    429: RateLimitError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def is_transient(error: ChatError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, NetworkError | RateLimitError | UnavailableError | ServerError)


def error_of(status: int, headers: Any, body: object) -> ApiError:
    """The error of an answer. `body` is the decoded JSON, or None if it has none, as an answer of a proxy."""
    envelope = body if isinstance(body, dict) else {}
    code = str(envelope.get("error", ""))
    kind = BY_STATUS.get(status, ServerError if status >= 500 else InvalidRequestError)
    if status == 401 and code in ("MFA_REQUIRED", "MFA_INVALID"):
        kind = SecondFactorError
    return kind(
        status,
        code,
        str(envelope.get("message", "The server answered without a message")),
        headers.get("X-Request-ID") or envelope.get("request_id"),
        retry_after_seconds(headers.get("Retry-After")),
        envelope.get("validation_errors"),
    )


def retry_after_seconds(value: str | None) -> float | None:
    """The seconds of a `Retry-After`, which is a number or a date; an hour if it is longer.

    None if there is none that can be read.
    """
    if value is None:
        return None
    try:
        date = None if value.strip().isdecimal() else email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    wait = float(value) if date is None else date.timestamp() - time.time()
    return min(max(0.0, wait), LONGEST_RETRY_AFTER)
