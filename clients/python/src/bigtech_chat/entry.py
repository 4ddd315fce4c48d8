"""The messages of an outbox, as they are stored."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict, dataclass, field

from .errors import ChatError


class OutboxFullError(ChatError):
    """The outbox holds as many messages as it can."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that the server has not confirmed. `error` is the code with which the server has rejected it."""

    room_id: int
    content: str
    reply_to: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: float = field(default_factory=time.time)
    error: str | None = None


def entries_from_text(text: str | None) -> list[Entry]:
    return [Entry(**entry) for entry in json.loads(text)] if text else []


def entries_to_text(entries: list[Entry]) -> str | None:
    return json.dumps([asdict(entry) for entry in entries]) if entries else None
