"""The running stack of the tests: users, the control of its processes, and a link that breaks."""

import contextlib
import json
import os
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from unittest import skipUnless

import httpx

from bigtech_chat import ChatClient

PASSWORD = "Test1234!@"

needs_stack = skipUnless("GATEWAY_URL" in os.environ, 'no running stack: eval "$(cargo stack env)"')
needs_control = skipUnless("STACK_CONTROL" in os.environ, "runs in `cargo stack test` only, which can kill replicas")


def api() -> str:
    return os.environ["GATEWAY_URL"] + "/api"


def register(name: str) -> str:
    """The e-mail address of a new account."""
    username = f"{name}_{uuid.uuid4().hex[:10]}"
    with ChatClient(api()) as chat:
        chat.register(f"{username}@example.com", username, PASSWORD)
    return f"{username}@example.com"


@contextlib.contextmanager
def two_in_a_room() -> Iterator[tuple[ChatClient, ChatClient, int]]:
    """Two users who are logged in, and the id of their direct room."""
    with ChatClient(api()) as ann, ChatClient(api()) as bob:
        ann.login(register("ann"), PASSWORD)
        bob.login(register("bob"), PASSWORD)
        yield ann, bob, ann.room_with(bob.user_id)["id"]


def control(act: str, name: str | None = None) -> dict[str, object]:
    """An act of the stack's supervisor on one of its processes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(os.environ["STACK_CONTROL"])
        connection.sendall(json.dumps({"do": act} | ({"name": name} if name else {})).encode() + b"\n")
        with connection.makefile() as answer:
            result: dict[str, object] = json.loads(answer.readline())
    return result


def chat_service_is_ready() -> None:
    """Waits until each replica of chat-service answers again."""
    for url in os.environ["CHAT_URLS"].split(","):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/health/ready").is_success:
                    break
            time.sleep(0.2)


class Link:
    """A TCP proxy to the gateway that can cut connections, lose answers and fall silent."""

    def __init__(self) -> None:
        host, port = os.environ["GATEWAY_URL"].removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.loses_answers = False
        self.is_silent = False
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Resets all connections."""
        for connection in list(self._open):
            reset(connection)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            self._open |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                if is_answer and self.loses_answers:
                    break
                if not (is_answer and self.is_silent):
                    target.sendall(chunk)
        reset(source)
        reset(target)


def reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
