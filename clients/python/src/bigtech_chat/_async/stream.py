"""The stream of events, which resumes after every interruption."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncGenerator
from typing import cast

from ..backoff import Backoff
from ..errors import ApiError, AuthenticationError, ChatError, SessionEndedError, is_transient
from ..events import Event, StreamEvent
from ..repeats import Repeats
from ..sse import EventParser, RawEvent
from .session import AsyncSession
from .transport import AsyncTransport

log = logging.getLogger("bigtech_chat")

#: The server sends at least a comment every 30 s (`SSE_KEEPALIVE_SECONDS`).
SILENCE_TIMEOUT = 75.0
FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
#: A stream resets the delay only after this time, because a server that shuts down may still accept connections.
STABLE_AFTER = 10.0


async def resuming_events(
    session: AsyncSession, transport: AsyncTransport, path: str, last_event_id: str, silence_timeout: float
) -> AsyncGenerator[StreamEvent, None]:
    """All events after `last_event_id`, or from now on if it is empty: each once, over any number of connections.

    Raises an `ApiError` if a later attempt cannot succeed either, for example after the end of a membership.
    """
    backoff, repeats = Backoff(FIRST_DELAY, LONGEST_DELAY), Repeats()
    user_id, refused_token = session.user_id, ""
    while True:
        token, wait, opened_at = "", None, math.inf
        try:
            if refused_token:
                await session.renew(refused_token)
            token = await session.token_of(user_id)
            async with transport.open(path, token, last_event_id, silence_timeout) as response:
                opened_at = time.monotonic()
                parser = EventParser(last_event_id)
                async for chunk in response.aiter_bytes():
                    for raw in parser.feed(chunk):
                        event = event_of(raw, repeats)
                        last_event_id = raw.id
                        if raw.retry is not None:
                            backoff.first = min(raw.retry / 1000, LONGEST_DELAY)
                        if event is not None:
                            yield event
        except AuthenticationError as error:
            # A token that was renewed and is refused again is refused for another reason than its age.
            if isinstance(error, SessionEndedError) or refused_token:
                raise
            refused_token = token
        except (ChatError, ValueError) as error:
            if isinstance(error, ChatError) and not is_transient(error):
                raise
            wait = error.retry_after if isinstance(error, ApiError) else None
            log.info("the stream was interrupted: %s", type(error).__name__)
        if time.monotonic() - opened_at > STABLE_AFTER:
            backoff.reset()
            refused_token = ""
        await asyncio.sleep(backoff.next(wait))


def event_of(raw: RawEvent, repeats: Repeats) -> StreamEvent | None:
    """The event with its payload, None for a message that was delivered before."""
    data = json.loads(raw.data)
    if raw.name == "resync":
        repeats.clear()
    if raw.name == "new_message" and repeats.contains(data["room_id"], data["seq"]):
        return None
    return cast(StreamEvent, Event(raw.name, data, raw.id))
