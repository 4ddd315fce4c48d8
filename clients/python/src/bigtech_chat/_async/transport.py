"""Requests over HTTP, without a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from ..backoff import Backoff
from ..errors import (
    ApiError,
    ChatError,
    NetworkError,
    RateLimitError,
    UnavailableError,
    UnexpectedAnswerError,
    error_of,
)

MAX_ATTEMPTS = 4
FIRST_DELAY = 0.5
LONGEST_DELAY = 8.0
#: A longer `Retry-After`, in seconds, is left to the caller.
LONGEST_RETRY_AFTER = 30.0
#: A socket takes no infinite timeout, and none of more than 24 days.
LONGEST_SILENCE_TIMEOUT = 86_400.0

Query = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer. `body` is the decoded body, None if it is empty."""

    body: Any
    headers: httpx.Headers


class AsyncTransport:
    """Sends requests to the gateway or to one service."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        query: Query | None = None,
        body: object = None,
        idempotent: bool,
    ) -> Answer:
        """The answer. Repeats an idempotent request that found no server, and any request that was rejected by 429.

        Raises `NetworkError` without an answer, and the `ApiError` of an error answer.
        """
        backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return await self._send_once(method, path, token, query, body)
            except (NetworkError, RateLimitError, UnavailableError) as error:
                wait = error.retry_after if isinstance(error, ApiError) else None
                may_repeat = idempotent or isinstance(error, RateLimitError)
                if not may_repeat or attempt == MAX_ATTEMPTS or (wait or 0.0) > LONGEST_RETRY_AFTER:
                    raise
                await asyncio.sleep(backoff.next(wait))
        raise AssertionError("the last attempt returns or raises")

    async def _send_once(self, method: str, path: str, token: str | None, query: Query | None, body: object) -> Answer:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(method, path, params=params, json=body, headers=authorization(token))
        except httpx.RequestError as error:
            raise NetworkError(str(error) or type(error).__name__) from error
        if not response.is_success:
            raise failure_of(response)
        return Answer(body_of(response), response.headers)

    async def download(self, path: str, token: str | None, query: Query | None) -> bytes:
        """The file to which the API redirects. The object store gets no token. Nothing is repeated."""
        # `file_url` begins with the prefix of the gateway, which the base URL has already.
        if path.startswith("/api/") and self._http.base_url.path.endswith("/api/"):
            path = path.removeprefix("/api")
        params = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = await self._http.get(path, params=params, headers=authorization(token))
            if not answer.is_redirect:
                raise failure_of(answer)
            file = await self._http.get(answer.headers["Location"])
        except httpx.RequestError as error:
            raise NetworkError(str(error) or type(error).__name__) from error
        if not file.is_success:
            raise failure_of(file)
        return file.content

    @asynccontextmanager
    async def open(
        self, path: str, token: str | None, last_event_id: str, silence_timeout: float
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is read as it comes. A body that is silent for `silence_timeout` seconds is broken."""
        headers = {**authorization(token), "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = httpx.Timeout(
            **{**self._http.timeout.as_dict(), "read": min(silence_timeout, LONGEST_SILENCE_TIMEOUT)}
        )
        try:
            async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    raise failure_of(response)
                if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    raise UnexpectedAnswerError(response.status_code)
                yield response
        except httpx.RequestError as error:
            raise NetworkError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        await self._http.aclose()


def authorization(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def body_of(response: httpx.Response) -> Any:
    """The decoded body, None if it is empty."""
    try:
        return response.json() if response.content else None
    except ValueError as error:
        raise UnexpectedAnswerError(response.status_code) from error


def failure_of(response: httpx.Response) -> ChatError:
    """The error of an answer without success. Redirects are not followed."""
    if not response.is_error:
        return UnexpectedAnswerError(response.status_code)
    try:
        body = body_of(response)
    except UnexpectedAnswerError:
        body = None
    return error_of(response.status_code, response.headers, body)
