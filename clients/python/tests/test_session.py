"""The session and the outbox, against answers that the tests make up."""

import asyncio
import json
import math
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import IsolatedAsyncioTestCase
from unittest.mock import patch

import httpx

from bigtech_chat import (
    AsyncChatClient,
    AuthenticationError,
    FileStorage,
    MemoryStorage,
    NetworkError,
    NotLoggedInError,
    PermissionDeniedError,
    SecondFactorError,
    SessionEndedError,
    UnavailableError,
    UnexpectedAnswerError,
)

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer, storage: Any = None) -> AsyncChatClient:
    transport = httpx.MockTransport(answer)
    return AsyncChatClient(storage=storage, http=httpx.AsyncClient(base_url="http://chat", transport=transport))


def token(number: int, expires_in: int = 7200) -> httpx.Response:
    body = {"access_token": f"a{number}", "refresh_token": f"r{number}", "user_id": 1, "expires_in": expires_in}
    return httpx.Response(200, json=body)


class Server:
    """Accepts the newest access token, and exchanges the newest refresh token and its predecessor."""

    def __init__(self) -> None:
        self.newest = 1
        self.refreshes = 0
        self.lose_next_answer = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/login/json":
            return token(self.newest)
        if request.url.path == "/auth/refresh":
            self.refreshes += 1
            used = json.loads(request.content)["refresh_token"]
            if used == f"r{self.newest}":
                self.newest += 1
            elif used != f"r{self.newest - 1}":
                return httpx.Response(401, json={"error": "authentication_error", "message": "used"})
            if self.lose_next_answer:
                self.lose_next_answer = False
                raise httpx.ReadError("cut")
            return token(self.newest)
        if request.headers["Authorization"] != f"Bearer a{self.newest}":
            return httpx.Response(401, json={"error": "authentication_error", "message": "old"})
        return httpx.Response(200, json={"id": 1})


class Session(IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        # Delays pass at once.
        pause = asyncio.sleep
        patcher = patch("asyncio.sleep", lambda _: pause(0))
        patcher.start()
        self.addCleanup(patcher.stop)

    async def test_concurrent_requests_with_an_old_token_share_one_renewal(self) -> None:
        server = Server()
        chat = client(server)
        await chat.login("a@example.com", "secret")
        # Another client of the session has renewed it: a1 is refused, and r1 is the predecessor.
        server.newest = 2
        await asyncio.gather(*(chat.me() for _ in range(20)))
        self.assertEqual(server.refreshes, 1)

    async def test_a_renewal_whose_answer_is_lost_is_repeated_with_the_same_token(self) -> None:
        server = Server()
        chat = client(server)
        await chat.login("a@example.com", "secret")
        server.lose_next_answer = True
        await chat._session.renew("a1")
        self.assertEqual((server.refreshes, await chat._session.access_token()), (2, "a2"))

    async def test_a_token_is_renewed_before_it_expires(self) -> None:
        server = Server()
        chat = client(server)
        await chat.login("a@example.com", "secret")
        later = time.time() + 7150
        with patch("time.time", lambda: later):
            await chat.me()
        self.assertEqual(server.refreshes, 1)

    async def test_a_refused_refresh_token_ends_the_session(self) -> None:
        chat = client(lambda request: token(1) if "login" in request.url.path else httpx.Response(401))
        await chat.login("a@example.com", "secret")
        with self.assertRaises(SessionEndedError):
            await chat.me()
        self.assertFalse(chat.is_logged_in)

    async def test_a_logout_whose_access_token_is_refused_ends_the_session_with_a_new_one(self) -> None:
        server, paths = Server(), []

        def answer(request: httpx.Request) -> httpx.Response:
            paths.append(request.url.path)
            return server(request)

        chat = client(answer)
        await chat.login("a@example.com", "secret")
        server.newest = 2
        await chat.logout()
        self.assertEqual(paths[1:], ["/auth/logout", "/auth/refresh", "/auth/logout"])
        self.assertFalse(chat.is_logged_in)

    async def test_a_logout_of_a_session_that_the_server_has_ended_succeeds(self) -> None:
        chat = client(lambda request: token(1) if "login" in request.url.path else httpx.Response(401))
        await chat.login("a@example.com", "secret")
        await chat.logout()
        self.assertFalse(chat.is_logged_in)

    async def test_a_logout_that_the_server_refuses_for_good_is_an_error_and_the_tokens_are_forgotten(self) -> None:
        chat = client(lambda request: httpx.Response(401) if "logout" in request.url.path else token(1))
        await chat.login("a@example.com", "secret")
        with self.assertRaises(AuthenticationError):
            await chat.logout()
        self.assertFalse(chat.is_logged_in)

    async def test_a_logout_leaves_the_session_of_the_next_user_alone(self) -> None:
        logins, is_reached, release = iter((1, 2)), asyncio.Event(), asyncio.Event()

        async def answer(request: httpx.Request) -> httpx.Response:
            if "login" in request.url.path:
                return httpx.Response(200, json=token(1).json() | {"user_id": next(logins)})
            is_reached.set()
            await release.wait()
            return httpx.Response(200, json={})

        http = httpx.AsyncClient(base_url="http://chat", transport=httpx.MockTransport(answer))
        chat = AsyncChatClient(http=http)
        await chat.login("ann@example.com", "secret")
        logout = asyncio.ensure_future(chat.logout())
        await is_reached.wait()
        await chat.login("bob@example.com", "secret")
        release.set()
        await logout
        self.assertEqual(chat.user_id, 2)

    async def test_a_stored_session_goes_on_and_adopts_tokens_of_another_process(self) -> None:
        server, storage = Server(), MemoryStorage()
        await client(server, storage).login("a@example.com", "secret")
        first, second = client(server, storage), client(server, storage)
        await first._session.renew("a1")
        await second._session.renew("a1")
        self.assertEqual((server.refreshes, second.user_id), (1, 1))

    async def test_a_code_is_asked_for_only_if_it_is_needed(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            if "mfa_code" in json.loads(request.content):
                return token(1)
            return httpx.Response(401, json={"error": "MFA_REQUIRED", "message": "code"})

        with self.assertRaises(SecondFactorError):
            await client(answer).login("a@example.com", "secret")
        self.assertEqual(await client(answer).login("a@example.com", "secret", lambda: "123456"), 1)

    async def test_only_idempotent_requests_are_repeated(self) -> None:
        attempts = 0

        def answer(request: httpx.Request) -> httpx.Response:
            nonlocal attempts
            if "login" in request.url.path:
                return token(1)
            attempts += 1
            return httpx.Response(503, headers={"Retry-After": "1"})

        chat = client(answer)
        await chat.login("a@example.com", "secret")
        for call, expected in [
            (chat.me(), 4),
            (chat.send(1, "x"), 4),
            (chat.create_room([2, 3]), 1),
        ]:
            attempts = 0
            with self.assertRaises(UnavailableError):
                await call
            self.assertEqual(attempts, expected)

    async def test_a_page_of_a_proxy_is_no_answer(self) -> None:
        pages = [
            httpx.Response(200, text="<html>Log in to the network</html>"),
            httpx.Response(302, headers={"Location": "https://proxy.example.com/login"}),
        ]
        chat = client(lambda request: pages.pop())
        for status in (302, 200):
            with self.assertRaises(UnexpectedAnswerError) as caught:
                await chat.login("a@example.com", "secret")
            self.assertIsInstance(caught.exception, NetworkError)
            self.assertEqual(caught.exception.status, status)

    async def test_a_stream_goes_on_after_a_page_of_a_proxy(self) -> None:
        stream = httpx.Response(
            200, headers={"Content-Type": "text/event-stream"}, content=b"event: connected\ndata: {}\n\n"
        )
        pages = iter((httpx.Response(302), httpx.Response(200, text="<html>Log in to the network</html>")))

        def answer(request: httpx.Request) -> httpx.Response:
            if "login" in request.url.path:
                return token(1)
            return next(pages, stream)

        chat = client(answer)
        await chat.login("a@example.com", "secret")
        with self.assertLogs("bigtech_chat", "INFO") as logged:
            self.assertEqual((await anext(chat.stream())).name, "connected")
        self.assertEqual(len(logged.records), 2)

    async def test_an_infinite_silence_timeout_is_one_that_a_socket_takes(self) -> None:
        timeouts: list[float] = []

        def answer(request: httpx.Request) -> httpx.Response:
            if "login" in request.url.path:
                return token(1)
            timeouts.append(request.extensions["timeout"]["read"])
            return httpx.Response(403)

        chat = client(answer)
        await chat.login("a@example.com", "secret")
        with self.assertRaises(PermissionDeniedError):
            await anext(chat.stream(silence_timeout=math.inf))
        self.assertEqual(timeouts, [86_400.0])


class Outbox(IsolatedAsyncioTestCase):
    async def test_messages_survive_a_restart_keep_their_order_and_belong_to_their_user(self) -> None:
        sent: list[tuple[str, str]] = []
        online = False

        def answer(request: httpx.Request) -> httpx.Response:
            if "login" in request.url.path:
                return token(1)
            if not online:
                raise httpx.ConnectError("offline")
            body = json.loads(request.content)
            if body["content"] == "refused":
                return httpx.Response(403, json={"error": "BLOCKED", "message": "blocked"})
            sent.append((body["content"], body["client_message_id"]))
            return httpx.Response(201, json={"id": "m"})

        with tempfile.TemporaryDirectory() as folder, patch("bigtech_chat._async.transport.MAX_ATTEMPTS", 1):
            chat = client(answer, FileStorage(folder))
            await chat.login("a@example.com", "secret")
            entries = [chat.outbox.enqueue(5, text) for text in ("one", "refused", "two")]
            self.assertEqual(await chat.outbox.flush(timeout=0), [])

            restarted = client(answer, FileStorage(folder))
            self.assertEqual(restarted.outbox.entries, tuple(entries))
            online = True
            self.assertEqual(len(await restarted.outbox.flush()), 2)
            self.assertEqual(sent, [("one", entries[0].id), ("two", entries[2].id)])
            self.assertEqual([entry.error for entry in restarted.outbox.entries], ["BLOCKED"])

    async def test_a_request_of_one_user_is_not_repeated_as_the_next(self) -> None:
        for act in ("send", "outbox"):
            with self.subTest(act):
                sent: list[str] = []
                chat, held = await self.ann_is_held_back(sent)
                if act == "outbox":
                    chat.outbox.enqueue(1, "secret of ann")
                request = chat.outbox.flush() if act == "outbox" else chat.send(1, "secret of ann")
                of_ann = asyncio.ensure_future(request)
                await held["reached"].wait()
                await chat.login("bob@example.com", "secret")
                held["release"].set()
                with self.assertRaises(NotLoggedInError):
                    await of_ann
                await chat.send(1, "of bob")
                self.assertEqual((sent, chat.user_id), (["of bob"], 2))

    async def ann_is_held_back(self, sent: list[str]) -> tuple[AsyncChatClient, dict[str, asyncio.Event]]:
        """A client of ann, whose requests wait for `release`. What bob's token sends goes to `sent`."""
        held = {"reached": asyncio.Event(), "release": asyncio.Event()}
        logins = iter((1, 2))

        async def answer(request: httpx.Request) -> httpx.Response:
            if "login" in request.url.path:
                number = next(logins)
                return httpx.Response(200, json=token(number).json() | {"user_id": number})
            if request.headers["Authorization"] == "Bearer a2":
                sent.append(json.loads(request.content)["content"])
                return httpx.Response(201, json={"id": "m"})
            held["reached"].set()
            await held["release"].wait()
            return httpx.Response(401, json={"error": "authentication_error", "message": "old"})

        http = httpx.AsyncClient(base_url="http://chat", transport=httpx.MockTransport(answer))
        chat = AsyncChatClient(storage=None, http=http)
        await chat.login("ann@example.com", "secret")
        return chat, held

    async def test_tokens_of_another_user_in_a_shared_storage_are_not_taken_over(self) -> None:
        storage = MemoryStorage()
        chat = client(lambda request: token(1) if "login" in request.url.path else httpx.Response(401), storage)
        await chat.login("ann@example.com", "secret")
        stored = json.loads(storage.load("session") or "")
        storage.save("session", json.dumps(stored | {"access_token": "b", "refresh_token": "b", "user_id": 2}))
        with self.assertRaises(SessionEndedError):
            await chat.me()
        self.assertEqual(json.loads(storage.load("session") or "")["user_id"], 2)

    async def test_a_lost_connection_is_a_network_error(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

        with self.assertRaises(NetworkError):
            await client(answer).login("a@example.com", "secret")
