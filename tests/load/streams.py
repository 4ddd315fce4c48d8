"""Opens STREAMS streams of people who are in ROOMS rooms of MEMBERS members each, and reports their cost: streams.py KIND.

KIND is `all` for the streams of all rooms, or `room` for streams of one room each. The environment has what
`cargo stack env` prints, and the process ids CHAT_PID, MONGO_PID, MYSQL_PID and REDIS_PID. SQL statements go through the command SQL.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from urllib.parse import urlparse

STREAMS, ROOMS, MEMBERS = (int(os.environ[name]) for name in ("STREAMS", "ROOMS", "MEMBERS"))
CUT, BACK, IDLE = (int(os.environ[name]) for name in ("CUT", "BACK_SECONDS", "IDLE_SECONDS"))
KIND = sys.argv[1]
PIDS = {name: int(os.environ[f"{name.upper()}_PID"]) for name in ("chat", "mongo", "mysql", "redis")}
CHAT = urlparse(os.environ["CHAT_URL"])
# The goals: memory of a stream, CPU of a process in each idle second, and the slowest of a hundred sends while streams come back.
KB_PER_STREAM = {"all": 40, "room": 8}[KIND]
IDLE_MILLIS, SEND_MILLIS = 50, 500
# The factor by which a busy machine may miss the goals of time.
SLACK = float(os.environ.get("SLACK", "1"))
# Connections at once while streams open and while rooms get their first message.
OPENING, WRITERS = 64, 50
SENDS_PER_SECOND = 20


missed = []


def goal(what, figure, limit):
    """Remembers a figure that is over its limit."""
    if figure > limit:
        missed.append(f"{what}: {figure:.1f}, the goal is {limit:.1f}")


def token(user):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": str(user), "exp": int(time.time()) + 7200, "type": "access", "username": f"person_{user}"}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    signature = hmac.new(os.environ["SECRET_KEY"].encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(signature)).decode()


def sql(statements):
    command = shlex.split(os.environ["SQL"])
    return subprocess.run(command, input=statements, capture_output=True, text=True, check=True).stdout


def make_rooms():
    """Each person is in ROOMS groups. Returns the first room's id and the number of rooms."""
    people = list(range(FIRST_USER, FIRST_USER + STREAMS))
    number = STREAMS * ROOMS // MEMBERS
    first = int(sql("SELECT COALESCE(MAX(id), 0) + 1 FROM chat_rooms").split()[-1])
    statements = ["SET unique_checks = 0, foreign_key_checks = 0;"]
    places = itertools.cycle(people)
    for chunk in range(first, first + number, 500):
        rooms = range(chunk, min(chunk + 500, first + number))
        members = [f"({next(places)},{room})" for room in rooms for _ in range(MEMBERS)]
        names = ",".join(f"({room},'load {room}',{FIRST_USER})" for room in rooms)
        statements.append(f"INSERT INTO chat_rooms (id, name, creator_id) VALUES {names};")
        statements.append(f"INSERT INTO room_members (user_id, chat_room_id) VALUES {','.join(members)};")
    sql("\n".join(statements))
    return first, number


def first_member(room, first):
    return FIRST_USER + (room - first) * MEMBERS % STREAMS


async def send(connection, room, user, tokens):
    reader, writer = connection
    body = b'{"content": "hello"}'
    writer.write(f"POST /messages/{room} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {tokens[user]}\r\n"
                 f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 201 " in head.split(b"\r\n", 1)[0], head
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(length)


async def fill(first, number, tokens):
    """Sends one message into every room, so that each has a log."""
    rooms = iter(range(first, first + number))

    async def work():
        connection = await asyncio.open_connection(CHAT.hostname, CHAT.port)
        for room in rooms:
            await send(connection, room, first_member(room, first), tokens)
        connection[1].close()

    await asyncio.gather(*(work() for _ in range(WRITERS)))


class Stream:
    """One open stream. Remembers the last id and the seconds after which to come back, and counts the events."""

    def __init__(self, path, user):
        self.path, self.user, self.last_id, self.events, self.resyncs = path, user, None, 0, 0
        self.retry = None

    async def open(self, tokens):
        reader, self.writer = await asyncio.open_connection(CHAT.hostname, CHAT.port, limit=16 * 1024)
        resume = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        self.writer.write(f"GET {self.path} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {tokens[self.user]}\r\n"
                          f"{resume}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n", 1)[0], head
        connected = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.read(reader, connected))
        await connected

    async def read(self, reader, connected):
        async for line in reader:
            if line.startswith(b"event: "):
                self.events += 1
                self.resyncs += line.startswith(b"event: resync")
            elif line.startswith(b"retry: "):
                self.retry = int(line[7:]) / 1000
            elif line.startswith(b"id: "):
                self.last_id = line[4:].strip().decode()
                if not connected.done():
                    connected.set_result(None)

    def cut(self):
        self.task.cancel()
        self.writer.transport.abort()


async def open_all(streams, tokens, at_once=OPENING):
    waiting = iter(streams)

    async def work():
        for stream in waiting:
            await stream.open(tokens)

    await asyncio.gather(*(work() for _ in range(at_once)))


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


class Used:
    """The CPU time of all processes since this value was made."""

    def __init__(self):
        self.before = {name: cpu(pid) for name, pid in PIDS.items()}

    def millis(self, number):
        """The milliseconds of each process for one of a number of acts, by its name."""
        return {name: 1000 * (cpu(pid) - self.before[name]) / number for name, pid in PIDS.items()}

    def each(self, number):
        """The text of these milliseconds."""
        return ", ".join(f"{name} {millis:.1f}" for name, millis in self.millis(number).items())


async def reconnect(streams, first, number, tokens):
    """Cuts streams at once. Each comes back after the `retry` of its stream, while messages are sent."""
    connection = await asyncio.open_connection(CHAT.hostname, CHAT.port)
    latencies, late, back = [], [], asyncio.Event()

    async def sender():
        for room in itertools.cycle(range(first, first + number, 7)):
            if back.is_set():
                return
            started = time.monotonic()
            await send(connection, room, first_member(room, first), tokens)
            latencies.append(time.monotonic() - started)
            await asyncio.sleep(max(0, 1 / SENDS_PER_SECOND - latencies[-1]))

    async def come_back(stream):
        await asyncio.sleep(stream.retry)
        started = time.monotonic()
        await stream.open(tokens)
        late.append(time.monotonic() - started)

    cut = streams[:CUT]
    sending = asyncio.create_task(sender())
    await asyncio.sleep(1)
    started, used = time.monotonic(), Used()
    for stream in cut:
        stream.cut()
    await asyncio.gather(*map(come_back, cut))
    took = time.monotonic() - started
    back.set()
    await sending
    latencies.sort()
    late.sort()
    resyncs, slowest = sum(stream.resyncs for stream in cut), latencies[int(len(latencies) * .99)] * 1000
    goal("seconds until all streams are back", took, BACK * SLACK)
    goal("streams that came back and missed events", resyncs, 0)
    goal("sends meanwhile, p99 in ms", slowest, SEND_MILLIS * SLACK)
    print(f"{len(cut)} streams cut at once: all back after {took:.1f} s, "
          f"opening one p50 {late[len(late) // 2] * 1000:.0f} ms, p99 {late[int(len(late) * .99)] * 1000:.0f} ms, "
          f"resyncs {resyncs}, CPU of one in ms: {used.each(len(cut))}; "
          f"{len(latencies)} sends meanwhile: p50 {latencies[len(latencies) // 2] * 1000:.0f} ms, "
          f"p99 {slowest:.0f} ms")


# People of earlier runs are in rooms already.
FIRST_USER = max(1_000_000, int(sql("SELECT COALESCE(MAX(user_id), 0) + 1 FROM room_members").split()[-1]))


async def main():
    chat = PIDS["chat"]
    first, number = make_rooms()
    tokens = {user: token(user) for user in range(FIRST_USER, FIRST_USER + STREAMS)}
    await fill(first, number, tokens)
    print(f"{STREAMS} streams of {ROOMS} rooms each, {number} rooms of {MEMBERS} members", flush=True)

    own = {}
    places = itertools.cycle(tokens)
    for room in range(first, first + number):
        for _ in range(MEMBERS):
            own.setdefault(next(places), room)
    path = "/messages/stream" if KIND == "all" else "/messages/stream/{}"
    streams = [Stream(path.format(own[user]), user) for user in tokens]
    before, started, used = resident(chat), time.monotonic(), Used()
    await open_all(streams, tokens)
    took, opening = time.monotonic() - started, used.each(STREAMS)
    await asyncio.sleep(5)
    after = resident(chat)
    print(f"opened in {took:.0f} s; chat-service: {before / 1024:.0f} MB before, {after / 1024:.0f} MB after, "
          f"{(after - before) / STREAMS:.1f} KB per stream; CPU of one opening in ms: {opening}", flush=True)
    goal("KB per stream", (after - before) / STREAMS, KB_PER_STREAM)

    used = Used()
    await asyncio.sleep(IDLE)
    idle = used.millis(IDLE)
    for name in ("chat", "mongo"):
        goal(f"CPU of {name} in an idle second, ms", idle[name], IDLE_MILLIS * SLACK)
    print(f"idle for {IDLE} s: CPU of a second in ms: {used.each(IDLE)}", flush=True)
    await reconnect(streams, first, number, tokens)
    print(f"chat-service: {resident(chat) / 1024:.0f} MB at the end", flush=True)
    print("\n".join(f"missed: {figure}" for figure in missed) or "all goals are met", flush=True)
    os._exit(1 if missed else 0)


asyncio.run(main())
