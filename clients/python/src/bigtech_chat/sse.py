"""The parser of server-sent events, as the HTML standard defines them."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

#: The longest event, in characters of its lines. The API's events are far shorter; it bounds the memory of a stream.
MAX_EVENT_LENGTH = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One event. `id` is the last id that the stream has set, and `retry` the reconnection time in milliseconds."""

    name: str
    data: str
    id: str
    retry: int | None


class EventParser:
    """Turns the bytes of one stream into events. Chunks can end anywhere, within a character or a line end too."""

    def __init__(self, last_event_id: str = "") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""
        self._is_start = True
        self._id = last_event_id
        self._name = ""
        self._data: list[str] = []
        self._length = 0
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> Iterator[RawEvent]:
        """The events that the chunk completes.

        Raises ValueError for an event that is longer than `MAX_EVENT_LENGTH`.
        """
        self._text += self._decoder.decode(chunk)
        if self._is_start and self._text:
            self._text = self._text.removeprefix("\ufeff")
            self._is_start = False
        for line in self._lines():
            self._length += len(line)
            if line:
                self._read_field(line)
            elif (event := self._dispatch()) is not None:
                yield event
        if self._length + len(self._text) > MAX_EVENT_LENGTH:
            raise ValueError("an event of the stream is too long")

    def _lines(self) -> Iterator[str]:
        """The complete lines, which end with LF, CR or CR LF. A CR at the end may be the first half of a CR LF."""
        start = 0
        while True:
            ends = [at for at in (self._text.find("\n", start), self._text.find("\r", start)) if at >= 0]
            end = min(ends, default=-1)
            if end < 0 or (self._text[end] == "\r" and end + 1 == len(self._text)):
                break
            yield self._text[start:end]
            start = end + (2 if self._text[end : end + 2] == "\r\n" else 1)
        self._text = self._text[start:]

    def _read_field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self._retry = int(value)

    def _dispatch(self) -> RawEvent | None:
        name, data, retry = self._name or "message", self._data, self._retry
        self._name, self._data, self._length, self._retry = "", [], 0, None
        return RawEvent(name, "\n".join(data), self._id, retry) if data else None
