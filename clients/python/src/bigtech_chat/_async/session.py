"""The login of a user and the renewal of its tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import (
    ApiError,
    AuthenticationError,
    ChatError,
    NotLoggedInError,
    SecondFactorError,
    SessionEndedError,
    is_transient,
)
from ..storage import Storage
from ..tokens import Tokens
from .transport import AsyncTransport

KEY = "session"

Result = TypeVar("Result")


class AsyncSession:
    """The tokens of one user, in a storage that several processes can share.

    A refresh token is valid once. Its predecessor can be exchanged for 30 s more and gives the same successor, so a
    renewal whose answer was lost is repeated with the same token.
    """

    def __init__(self, transport: AsyncTransport, storage: Storage) -> None:
        self._transport = transport
        self._storage = storage
        self._tokens = Tokens.from_text(storage.load(KEY))
        self._renewing = asyncio.Lock()

    @property
    def user_id(self) -> int:
        """Raises `NotLoggedInError` without a session."""
        return self._current().user_id

    @property
    def is_logged_in(self) -> bool:
        return self._tokens is not None

    async def login(self, email: str, password: str, code: str | Callable[[], str] | None) -> int:
        """Opens a session and returns the user's id. A function as `code` is called only if a code is needed."""
        body: dict[str, str] = {"email": email, "password": password}
        if isinstance(code, str):
            body["mfa_code"] = code
        try:
            answer = await self._transport.send("POST", "/auth/login/json", body=body, idempotent=False)
        except SecondFactorError as error:
            if error.code != "MFA_REQUIRED" or not callable(code):
                raise
            body["mfa_code"] = code()
            answer = await self._transport.send("POST", "/auth/login/json", body=body, idempotent=False)
        tokens = Tokens.of(answer.body)
        self._save(tokens)
        return tokens.user_id

    async def logout(self) -> None:
        """Ends the session. The tokens are forgotten even if the server cannot be reached."""
        user_id = self.user_id
        try:
            await self.authorized(
                lambda token: self._transport.send("POST", "/auth/logout", token=token, idempotent=True)
            )
        except SessionEndedError:
            # The session had ended before, or the answer of the first attempt was lost.
            pass
        finally:
            # Another user may have logged in meanwhile.
            if self._tokens is not None and self._tokens.user_id == user_id:
                self._replace(None)

    async def authorized(self, request: Callable[[str], Awaitable[Result]]) -> Result:
        """Runs a request of the user with an access token, and once more with a new one if the server refuses it.

        Raises `NotLoggedInError` if another user has logged in since.
        """
        user_id = self.user_id
        token = await self.token_of(user_id)
        try:
            return await request(token)
        except AuthenticationError:
            await self.renew(token)
        return await request(await self.token_of(user_id))

    async def token_of(self, user_id: int) -> str:
        """As `access_token`. Raises `NotLoggedInError` if another user has logged in since."""
        token = await self.access_token()
        if self.user_id != user_id:
            raise NotLoggedInError("another user has logged in")
        return token

    async def access_token(self) -> str:
        """A token that is valid for some time. Raises `NotLoggedInError` or `SessionEndedError`."""
        tokens = self._current()
        if time.time() < tokens.renew_at:
            return tokens.access_token
        try:
            await self.renew(tokens.access_token)
        except ChatError as error:
            if not is_transient(error) or time.time() >= tokens.expires_at:
                raise
        return self._current().access_token

    async def renew(self, replaced: str) -> None:
        """Replaces the access token. Concurrent callers that replace the same token share one request."""
        async with self._renewing:
            used = self._adopt_stored()
            if used.access_token != replaced:
                return
            body = {"refresh_token": used.refresh_token}
            try:
                answer = await self._transport.send("POST", "/auth/refresh", body=body, idempotent=True)
            except AuthenticationError as error:
                if self._adopt_stored().refresh_token != used.refresh_token:
                    return
                self._replace(None)
                raise session_ended(error) from error
            # A logout or a login in the meantime stays one.
            if self._tokens is not None and self._tokens.refresh_token == used.refresh_token:
                self._replace(Tokens.of(answer.body))

    def _adopt_stored(self) -> Tokens:
        """Takes newer tokens of the same user, which another process that shares the storage has."""
        stored = Tokens.from_text(self._storage.load(KEY))
        if stored is not None and self._tokens is not None and stored.user_id == self._tokens.user_id:
            self._tokens = stored
        return self._current()

    def _current(self) -> Tokens:
        if self._tokens is None:
            raise NotLoggedInError("log in first")
        return self._tokens

    def _replace(self, tokens: Tokens | None) -> None:
        """Replaces the tokens, in the storage too unless another user has logged in there."""
        stored = Tokens.from_text(self._storage.load(KEY))
        if stored is None or (self._tokens is not None and stored.user_id == self._tokens.user_id):
            self._save(tokens)
        else:
            self._tokens = tokens

    def _save(self, tokens: Tokens | None) -> None:
        self._tokens = tokens
        self._storage.save(KEY, tokens.to_text() if tokens else None)


def session_ended(error: ApiError) -> SessionEndedError:
    return SessionEndedError(error.status, error.code, error.message, error.request_id)
