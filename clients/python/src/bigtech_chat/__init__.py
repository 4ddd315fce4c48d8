"""Client of BigTech Chat: `AsyncChatClient`, and `ChatClient` with the same methods for code without `asyncio`."""

from ._async.client import AsyncChatClient
from ._async.outbox import AsyncOutbox
from ._sync.client import ChatClient
from ._sync.outbox import Outbox
from .entry import Entry, OutboxFullError
from .errors import (
    ApiError,
    AuthenticationError,
    ChatError,
    ConflictError,
    InvalidRequestError,
    NetworkError,
    NotFoundError,
    NotLoggedInError,
    PermissionDeniedError,
    RateLimitError,
    SecondFactorError,
    ServerError,
    SessionEndedError,
    UnavailableError,
    UnexpectedAnswerError,
    ValidationError,
)
from .events import Event, StreamEvent
from .storage import FileStorage, MemoryStorage, Storage

__all__ = [
    "ApiError",
    "AsyncChatClient",
    "AsyncOutbox",
    "AuthenticationError",
    "ChatClient",
    "ChatError",
    "ConflictError",
    "Entry",
    "Event",
    "FileStorage",
    "InvalidRequestError",
    "MemoryStorage",
    "NetworkError",
    "NotFoundError",
    "NotLoggedInError",
    "Outbox",
    "OutboxFullError",
    "PermissionDeniedError",
    "RateLimitError",
    "SecondFactorError",
    "ServerError",
    "SessionEndedError",
    "Storage",
    "StreamEvent",
    "UnavailableError",
    "UnexpectedAnswerError",
    "ValidationError",
]
