"""The messages that the server has not confirmed."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

from ..backoff import Backoff
from ..entry import Entry, OutboxFullError, entries_from_text, entries_to_text
from ..errors import ApiError, AuthenticationError, ChatError, ServerError, is_transient
from ..models import MessageBody
from ..storage import Storage

MAX_ENTRIES = 1_000
FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
#: A message that the server answers with 500 this often in a row is rejected, so that later ones do not wait for ever.
MAX_SERVER_ERRORS = 5

Send = Callable[[Entry], Awaitable[MessageBody]]


class AsyncOutbox:
    """Messages of one user in the order of their sends, in a storage that one client at a time uses.

    An entry's id is its `client_message_id`, so a message that is sent again, after a restart too, is stored once.
    """

    def __init__(self, send: Send, storage: Storage, user_id: int) -> None:
        self._send = send
        self._storage = storage
        self._key = f"outbox-{user_id}"
        self._entries = entries_from_text(storage.load(self._key))
        self._flushing = asyncio.Lock()
        self._is_closed = False

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The unconfirmed messages, oldest first, those that the server has rejected among them."""
        return tuple(self._entries)

    def enqueue(self, room_id: int, content: str, *, reply_to: str | None = None) -> Entry:
        """Stores a message. `flush` sends it. Raises `OutboxFullError` if there are 1,000 already."""
        if len(self._entries) >= MAX_ENTRIES:
            raise OutboxFullError(f"the outbox holds {MAX_ENTRIES} messages")
        entry = Entry(room_id, content, reply_to)
        self._save([*self._entries, entry])
        return entry

    def discard(self, entry_id: str) -> None:
        """Forgets a message. A send of it that is under way is not called back."""
        self._save([entry for entry in self._entries if entry.id != entry_id])

    def retry(self, entry_id: str) -> None:
        """Lets `flush` send a rejected message again."""
        self._mark(entry_id, None)

    def close(self) -> None:
        """Stops `flush`. The messages stay in the storage, which another outbox may use from now on."""
        self._is_closed = True

    async def flush(self, timeout: float | None = None) -> list[MessageBody]:
        """Sends the messages one after another, which keeps their order, and returns those that were confirmed.

        Waits while the server cannot be reached, for `timeout` seconds at most. A message that the server rejects stays
        with its error. Raises `SessionEndedError` or `NotLoggedInError` without a session.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        confirmed: list[MessageBody] = []
        backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
        server_errors = 0
        async with self._flushing:
            while (entry := self._next()) is not None:
                try:
                    confirmed.append(await self._send(entry))
                except ChatError as error:
                    if isinstance(error, AuthenticationError):
                        raise
                    server_errors += isinstance(error, ServerError)
                    if is_transient(error) and server_errors < MAX_SERVER_ERRORS:
                        delay = backoff.next(error.retry_after if isinstance(error, ApiError) else None)
                        if deadline is not None and time.monotonic() + delay > deadline:
                            break
                        await asyncio.sleep(delay)
                        continue
                    if not isinstance(error, ApiError):
                        raise
                    self._mark(entry.id, error.code or str(error.status))
                else:
                    self.discard(entry.id)
                server_errors = 0
                backoff.reset()
        return confirmed

    def _next(self) -> Entry | None:
        if self._is_closed:
            return None
        return next((entry for entry in self._entries if entry.error is None), None)

    def _mark(self, entry_id: str, error: str | None) -> None:
        self._save([dataclasses.replace(e, error=error) if e.id == entry_id else e for e in self._entries])

    def _save(self, entries: list[Entry]) -> None:
        if self._is_closed:
            return
        self._entries = entries
        self._storage.save(self._key, entries_to_text(entries))
