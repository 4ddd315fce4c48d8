"""Requests over HTTP, without a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from ..backoff import Backoff
from ..errors import ApiError, NetworkError, RateLimitError, UnavailableError, error_of

MAX_ATTEMPTS = 4
FIRST_DELAY = 0.5
LONGEST_DELAY = 8.0
#: A longer `Retry-After`, in seconds, is left to the caller.
LONGEST_RETRY_AFTER = 30.0
#: A socket takes no infinite timeout, and none of more than 24 days.
LONGEST_SILENCE_TIMEOUT = 86_400.0

Query = Mapping[str, str | int | None]


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
    ) -> httpx.Response:
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

    async def _send_once(
        self, method: str, path: str, token: str | None, query: Query | None, body: object
    ) -> httpx.Response:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(method, path, params=params, json=body, headers=authorization(token))
        except httpx.RequestError as error:
            raise NetworkError(str(error) or type(error).__name__) from error
        if response.is_error:
            raise error_of(response.status_code, response.headers, json_of(response))
        return response

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
                if response.is_error:
                    await response.aread()
                    raise error_of(response.status_code, response.headers, json_of(response))
                yield response
        except httpx.RequestError as error:
            raise NetworkError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        await self._http.aclose()


def authorization(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def json_of(response: httpx.Response) -> Any:
    """The body, None if it is not JSON."""
    try:
        return response.json()
    except ValueError:
        return None
