"""The events of the streams and their payloads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from .models import (
    ChatRoomCreatedEvent,
    ChatRoomLeftEvent,
    Connected,
    FriendRequestEvent,
    MessageBody,
    MessageDeletedEvent,
    MessagesReadEvent,
    NewMessageEvent,
    PresenceEvent,
    ReactionChangedEvent,
    Resync,
    RoomSettingsBody,
    StreamError,
    TypingEvent,
)

Name = TypeVar("Name", bound=str, covariant=True)
Payload = TypeVar("Payload", covariant=True)


@dataclass(frozen=True, slots=True)
class Event(Generic[Name, Payload]):
    """One event. `id` is the place in the stream after it, with which a later stream resumes."""

    name: Name
    data: Payload
    id: str


#: The events by name: `if event.name == "new_message"` gives `event.data` its type. `resync` means that events are
#: missing: fetch rooms and messages again. A name that is not here is one of a newer server.
StreamEvent: TypeAlias = (
    Event[Literal["connected"], Connected]
    | Event[Literal["resync"], Resync]
    | Event[Literal["new_message"], NewMessageEvent]
    | Event[Literal["message_edited"], MessageBody]
    | Event[Literal["message_deleted"], MessageDeletedEvent]
    | Event[Literal["reaction_changed"], ReactionChangedEvent]
    | Event[Literal["messages_read"], MessagesReadEvent]
    | Event[Literal["typing"], TypingEvent]
    | Event[Literal["presence"], PresenceEvent]
    | Event[Literal["friend_request"], FriendRequestEvent]
    | Event[Literal["chat_room_created"], ChatRoomCreatedEvent]
    | Event[Literal["chat_room_left"], ChatRoomLeftEvent]
    | Event[Literal["chat_room_settings"], RoomSettingsBody]
    | Event[Literal["error"], StreamError]
)
