"""The events of the streams and their payloads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, NotRequired, TypeAlias, TypedDict, TypeVar

from .models.chat import MessageBody, Reaction

Name = TypeVar("Name", bound=str, covariant=True)
Payload = TypeVar("Payload", covariant=True)


@dataclass(frozen=True, slots=True)
class Event(Generic[Name, Payload]):
    """One event. `id` is the place in the stream after it, with which a later stream resumes."""

    name: Name
    data: Payload
    id: str


class Connected(TypedDict):
    message: str
    user_id: int
    room_id: NotRequired[int]


class NewMessage(TypedDict):
    """A message that was sent. A replayed one that was deleted meanwhile has `is_deleted` and no content."""

    id: str
    user_id: int
    username: str
    room_id: int
    content: str
    message_type: str
    created_at: str
    is_deleted: bool
    seq: int
    client_message_id: str | None
    reply_to: str | None


class MessageDeleted(TypedDict):
    message_id: str
    room_id: int
    deleted_by: int
    timestamp: str


class ReactionChanged(TypedDict):
    message_id: str
    room_id: int
    user_id: int
    emoji: str
    added: bool
    reactions: list[Reaction]


class MessagesRead(TypedDict):
    """Messages that a member has read. `up_to` is the position of the mark if the whole room was read."""

    room_id: int
    user_id: int
    message_ids: list[str]
    up_to: NotRequired[int | None]
    timestamp: str


class Typing(TypedDict):
    room_id: int
    user_id: int
    username: str


class Presence(TypedDict):
    user_id: int
    is_online: bool
    last_seen_at: str | None


class FriendRequest(TypedDict):
    friendship_id: int
    user_id: int
    username: str


class ChatRoomCreated(TypedDict):
    room_id: int
    room_type: str
    creator_id: int
    participant_ids: list[int]
    timestamp: str


class ChatRoomLeft(TypedDict):
    room_id: int
    user_id: int
    by: int | None
    timestamp: str | None


class ChatRoomSettings(TypedDict):
    room_id: int
    pinned: bool
    muted: bool


class StreamFailure(TypedDict):
    message: str


#: The events by name: `if event.name == "new_message"` gives `event.data` its type. `resync` means that events are
#: missing: fetch rooms and messages again. A name that is not here is one of a newer server.
StreamEvent: TypeAlias = (
    Event[Literal["connected"], Connected]
    | Event[Literal["resync"], dict[str, Any]]
    | Event[Literal["new_message"], NewMessage]
    | Event[Literal["message_edited"], MessageBody]
    | Event[Literal["message_deleted"], MessageDeleted]
    | Event[Literal["reaction_changed"], ReactionChanged]
    | Event[Literal["messages_read"], MessagesRead]
    | Event[Literal["typing"], Typing]
    | Event[Literal["presence"], Presence]
    | Event[Literal["friend_request"], FriendRequest]
    | Event[Literal["chat_room_created"], ChatRoomCreated]
    | Event[Literal["chat_room_left"], ChatRoomLeft]
    | Event[Literal["chat_room_settings"], ChatRoomSettings]
    | Event[Literal["error"], StreamFailure]
)
