"""The client of the API."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import httpx

from ..entry import Entry
from ..events import StreamEvent
from ..models import (
    Friend,
    FriendRequests,
    Friendship,
    MessageBody,
    MessagePage,
    OwnProfile,
    ReadAnswer,
    RoomBody,
    UserProfile,
    UserResponse,
)
from ..storage import MemoryStorage, Storage
from .outbox import AsyncOutbox
from .session import AsyncSession
from .stream import SILENCE_TIMEOUT, resuming_events
from .transport import Answer, AsyncTransport, Query

#: Seconds for a connection, and for each part of an answer.
TIMEOUT = 15.0
#: The largest page that the API has.
PAGE_SIZE = 100


class AsyncChatClient:
    """A user's access to the API at `base_url`, which is the gateway with `/api` or a service.

    `storage` keeps the session and the outbox. `http` replaces the HTTP client, for a proxy or own certificates; its
    `base_url` has to be the API's. Ids of messages are texts of 24 hexadecimal digits, all other ids are integers.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:8000/api",
        *,
        storage: Storage | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._storage = storage or MemoryStorage()
        self._transport = AsyncTransport(http or httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT))
        self._session = AsyncSession(self._transport, self._storage)
        self._outbox: AsyncOutbox | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections. The session goes on."""
        await self._transport.aclose()

    # The session

    @property
    def is_logged_in(self) -> bool:
        """Whether there is a session, one of the storage for example."""
        return self._session.is_logged_in

    @property
    def user_id(self) -> int:
        """The id of the user. Raises `NotLoggedInError` without a session."""
        return self._session.user_id

    async def register(
        self, email: str, username: str, password: str, *, display_name: str | None = None
    ) -> UserResponse:
        """Creates an account. Raises `ConflictError` if the e-mail or the username is taken."""
        body = {"email": email, "username": username, "password": password, "display_name": display_name}
        answer = await self._transport.send("POST", "/auth/register", body=body, idempotent=False)
        return cast(UserResponse, answer.body)

    async def login(self, email: str, password: str, code: str | Callable[[], str] | None = None) -> int:
        """Opens a session and returns the user's id.

        `code` is the code of the second factor, or a function that asks for it and is called only if the account has
        one. Raises `SecondFactorError` if the code is missing or wrong, and `AuthenticationError` for a wrong password.
        """
        self._close_outbox()
        return await self._session.login(email, password, code)

    async def logout(self) -> None:
        """Ends the session.

        The tokens are forgotten even if it raises because the server could not be reached, where the session then goes
        on. What the outbox still holds stays in the storage for the next login of the user.
        """
        self._close_outbox()
        await self._session.logout()

    def _close_outbox(self) -> None:
        if self._outbox is not None:
            self._outbox.close()
        self._outbox = None

    # Requests

    async def request(
        self, method: str, path: str, *, query: Query | None = None, body: object = None, idempotent: bool | None = None
    ) -> Any:
        """The decoded answer of any operation, `request("GET", "/auth/sessions")` for example; None without a body.

        Repeats reads, and requests that are said to be idempotent, if the server cannot be reached.
        """
        answer = await self._respond(method, path, query, body, idempotent)
        return answer.body

    async def _respond(
        self, method: str, path: str, query: Query | None = None, body: object = None, idempotent: bool | None = None
    ) -> Answer:
        repeatable = method == "GET" if idempotent is None else idempotent
        return await self._session.authorized(
            lambda token: self._transport.send(method, path, token=token, query=query, body=body, idempotent=repeatable)
        )

    async def download(self, path: str, *, query: Query | None = None) -> bytes:
        """The file of a message from its `file_url`, or its picture from `/messages/…/thumbnail`, as a whole."""
        return await self._session.authorized(lambda token: self._transport.download(path, token, query))

    # Users and friends

    async def me(self) -> OwnProfile:
        return cast(OwnProfile, await self.request("GET", "/profile/me"))

    async def find_users(self, query: str, limit: int = 10) -> list[UserProfile]:
        """Users whose names contain a text of 1 to 50 characters."""
        found = await self.request("GET", "/users/search", query={"query": query, "limit": limit})
        return cast(list[UserProfile], found["users"])

    async def request_friendship(self, user_id: int, message: str | None = None) -> Friendship:
        body = {"user_id_2": user_id, "message": message}
        return cast(Friendship, await self.request("POST", "/friends/request", body=body))

    async def friend_requests(self) -> FriendRequests:
        return cast(FriendRequests, await self.request("GET", "/friends/requests"))

    async def accept_friendship(self, requester_id: int) -> Friendship:
        path = f"/friends/status/{requester_id}"
        return cast(Friendship, await self.request("PUT", path, body={"action": "accept"}))

    async def friends(self) -> AsyncIterator[Friend]:
        """All friends, read page by page."""
        cursor: str | None = None
        while True:
            answer = await self._respond("GET", "/friends/list", {"limit": PAGE_SIZE, "cursor": cursor})
            for friend in cast(list[Friend], answer.body):
                yield friend
            cursor = answer.headers.get("X-Next-Cursor")
            if not cursor:
                return

    # Rooms and messages

    async def rooms(self) -> AsyncIterator[RoomBody]:
        """All rooms, newest activity first, read page by page. A room that moves between two pages comes once."""
        seen: set[int] = set()
        skip = 0
        while True:
            page: list[RoomBody] = await self.request("GET", "/chat-rooms", query={"skip": skip, "limit": PAGE_SIZE})
            for room in page:
                if room["id"] not in seen:
                    seen.add(room["id"])
                    yield room
            skip += PAGE_SIZE
            if len(page) < PAGE_SIZE:
                return

    async def room_with(self, user_id: int) -> RoomBody:
        """The direct room with a user, which is created if there is none."""
        return cast(RoomBody, await self.request("GET", f"/chat-rooms/check/{user_id}"))

    async def create_room(self, participant_ids: list[int], name: str | None = None) -> RoomBody:
        """A group of the caller and two or more other users, or the direct room with one."""
        body = {"participant_ids": participant_ids, "name": name}
        return cast(RoomBody, await self.request("POST", "/chat-rooms", body=body))

    async def send(
        self, room_id: int, content: str, *, reply_to: str | None = None, client_message_id: str | None = None
    ) -> MessageBody:
        """Sends a message once, however often the request has to be repeated."""
        body = {
            "content": content,
            "reply_to": reply_to,
            "client_message_id": client_message_id or str(uuid.uuid4()),
        }
        return cast(MessageBody, await self.request("POST", f"/messages/{room_id}", body=body, idempotent=True))

    @property
    def outbox(self) -> AsyncOutbox:
        """The unconfirmed messages of the user. Raises `NotLoggedInError` without a session."""
        if self._outbox is None:
            self._outbox = AsyncOutbox(self._send_entry, self._storage, self.user_id)
        return self._outbox

    async def _send_entry(self, entry: Entry) -> MessageBody:
        return await self.send(entry.room_id, entry.content, reply_to=entry.reply_to, client_message_id=entry.id)

    async def messages(self, room_id: int, *, before: str | None = None) -> AsyncIterator[MessageBody]:
        """The messages of a room, newest first, read page by page; those before a message if its id is given."""
        while True:
            page = await self.page(room_id, before=before)
            for message in reversed(page["messages"]):
                yield message
            if not page["has_more"] or not page["messages"]:
                return
            before = page["messages"][0]["id"]

    async def page(self, room_id: int, *, before: str | None = None, limit: int = PAGE_SIZE) -> MessagePage:
        """One page of messages, oldest first. A stream from its `last_event_id` has all events after it."""
        query: Query = {"before": before, "limit": limit}
        return cast(MessagePage, await self.request("GET", f"/messages/{room_id}", query=query))

    async def search_messages(self, text: str, room_id: int | None = None) -> AsyncIterator[MessageBody]:
        """Messages that contain a text, newest first, read page by page."""
        query: dict[str, str | int | None] = {"q": text, "room_id": room_id}
        while True:
            found = await self.request("GET", "/messages/search", query=query)
            for message in cast(list[MessageBody], found["messages"]):
                yield message
            query["cursor"] = found["next_cursor"]
            if query["cursor"] is None:
                return

    async def edit(self, message_id: str, content: str) -> MessageBody:
        body = {"content": content}
        return cast(MessageBody, await self.request("PUT", f"/messages/{message_id}", body=body, idempotent=True))

    async def delete(self, message_id: str) -> None:
        await self.request("DELETE", f"/messages/{message_id}")

    async def react(self, message_id: str, emoji: str, *, add: bool = True) -> MessageBody:
        """Adds a reaction of the caller, or takes it back."""
        path = f"/messages/{message_id}/reactions/{quote(emoji, safe='')}"
        return cast(MessageBody, await self.request("PUT" if add else "DELETE", path, idempotent=True))

    async def mark_read(self, room_id: int, message_ids: list[str] | None = None) -> ReadAnswer:
        """Marks messages as read, without ids all messages of the room."""
        body: dict[str, object] = {"room_id": room_id}
        if message_ids is not None:
            body["message_ids"] = message_ids
        return cast(ReadAnswer, await self.request("POST", "/messages/read", body=body, idempotent=True))

    # The stream

    def stream(
        self,
        room_id: int | None = None,
        *,
        last_event_id: str | int = "",
        silence_timeout: float = SILENCE_TIMEOUT,
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of a room, or of all rooms, from now on or after an event, each once and in order.

        Reconnects by itself after every interruption, and when the server has been silent for `silence_timeout`
        seconds. Raises an `ApiError` if it cannot go on, `PermissionDeniedError` after the end of a membership for
        example. Close the iterator (`contextlib.aclosing`) to close its connection at once.
        """
        path = "/messages/stream" if room_id is None else f"/messages/stream/{room_id}"
        return resuming_events(self._session, self._transport, path, str(last_event_id), silence_timeout)
