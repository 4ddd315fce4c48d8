"""Follows the stream of all rooms, or of one room, and resumes after every break without a loss or a repeat.

Prints each event as a line of JSON. Python 3.9 or newer, no dependency.

    API=http://localhost:8000/api TOKEN=… python3 docs/examples/stream.py [ROOM]
"""

import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request

API = os.environ.get("API", "http://localhost:8000/api")
URL = f"{API}/messages/stream" + (f"/{sys.argv[1]}" if len(sys.argv) > 1 else "")

# The server sends a comment every 30 s. A connection that is silent for longer than two of them is dead.
SILENCE_SECONDS = 75
MAX_WAIT_SECONDS = 30
# A stream of this age shows that the server works, so the next wait is short again.
STABLE_AFTER_SECONDS = 10


class Stream:
    def __init__(self, token, last_event_id=""):
        self.token, self.last_event_id, self.retry_seconds = token, last_event_id, 2.0

    def follow(self):
        """Yields the events of one connection as pairs of name and data, until its end."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
        if self.last_event_id:
            headers["Last-Event-ID"] = self.last_event_id
        request = urllib.request.Request(URL, headers=headers)
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS) as response:
            name, data, event_id = "message", [], None
            while line := response.readline():
                # A line without its end is a connection that broke off.
                if not line.endswith(b"\n"):
                    return
                line = line.decode().rstrip("\r\n")
                if not line:
                    # Only an empty line ends an event, so the id of an event that broke off is not kept.
                    if event_id is not None:
                        self.last_event_id = event_id
                    if data:
                        yield name, json.loads("\n".join(data))
                    name, data, event_id = "message", [], None
                    continue
                field, _, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if field == "event":
                    name = value
                elif field == "data":
                    data.append(value)
                elif field == "id":
                    event_id = value
                elif field == "retry" and value.isdigit():
                    self.retry_seconds = int(value) / 1000

    def events(self):
        """Yields the events of one connection after the other."""
        failures = 0
        while True:
            opened, wait = time.monotonic(), 0.0
            try:
                yield from self.follow()
            except urllib.error.HTTPError as refusal:
                # 429 and 503 are temporary. Any other refusal is repeated only after something has changed: a new token
                # after a 401.
                if refusal.code < 500 and refusal.code != 429:
                    raise
                wait = float(refusal.headers.get("Retry-After") or 0)
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() - opened > STABLE_AFTER_SECONDS:
                failures = 0
            backoff = min(self.retry_seconds * 2 ** min(failures, 10), MAX_WAIT_SECONDS)
            failures += 1
            # With jitter, because all clients of a replica lose their streams at once.
            time.sleep(max(wait, backoff * random.uniform(0.5, 1)))


def main():
    stream = Stream(os.environ["TOKEN"], os.environ.get("LAST_EVENT_ID", ""))
    # What an application does with an event. After `resync` it fetches the named room, or all of them, anew.
    for name, data in stream.events():
        print(json.dumps({"event": name, "id": stream.last_event_id, "data": data}), flush=True)


if __name__ == "__main__":
    main()
