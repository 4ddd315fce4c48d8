"""Streams and sends while the wire breaks and replicas are killed: nothing is lost, nothing comes twice."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from unittest import IsolatedAsyncioTestCase, TestCase

from bigtech_chat import AsyncChatClient, ChatClient, MemoryStorage

from .stack import Link, api, chat_service_is_ready, control, needs_control, needs_stack, two_in_a_room

#: Divisible by the number of replicas.
MESSAGES = 60
TIMEOUT = 90.0


@contextlib.contextmanager
def link() -> Iterator[Link]:
    link = Link()
    try:
        yield link
    finally:
        link.close()


def storage_of(chat: ChatClient) -> MemoryStorage:
    """A copy of the session of a client, for another client."""
    storage = MemoryStorage()
    storage.save("session", chat._storage.load("session"))
    return storage


def read_until_last(chat: ChatClient, room: int | None, expected: list[str], is_open: threading.Event) -> list[str]:
    """The contents that a stream brings, to the last of the expected ones."""
    contents = []
    with contextlib.closing(chat.stream(room, silence_timeout=10)) as events:
        for event in events:
            is_open.set()
            if event.name == "new_message":
                contents.append(event.data["content"])
                if contents[-1] == expected[-1]:
                    return contents
    raise AssertionError("a stream does not end")


async def read_until_last_async(chat: AsyncChatClient, expected: list[str], is_open: asyncio.Event) -> list[str]:
    contents = []
    async with contextlib.aclosing(chat.stream(silence_timeout=10)) as events:
        async for event in events:
            is_open.set()
            if event.name == "new_message":
                contents.append(event.data["content"])
                if contents[-1] == expected[-1]:
                    return contents
    raise AssertionError("a stream does not end")


@needs_stack
class BrokenWire(TestCase):
    def test_a_stream_that_is_cut_and_silent_and_sends_whose_answers_are_lost(self) -> None:
        expected = [str(number) for number in range(MESSAGES)]
        with two_in_a_room() as (ann, bob, room), link() as to_ann, link() as to_bob:
            sender = ChatClient(to_ann.url, storage=storage_of(ann))
            reader = ChatClient(to_bob.url, storage=storage_of(bob))
            is_open = threading.Event()
            received: list[str] = []
            thread = threading.Thread(
                target=lambda: received.extend(read_until_last(reader, room, expected, is_open)), daemon=True
            )
            thread.start()
            self.assertTrue(is_open.wait(TIMEOUT))
            for text in expected:
                sender.outbox.enqueue(room, text)
            flushing = threading.Thread(target=sender.outbox.flush, daemon=True)
            flushing.start()
            for round_number in range(4):
                time.sleep(0.3)
                to_ann.loses_answers = to_bob.is_silent = round_number % 2 == 0
                to_bob.cut()
                time.sleep(0.3)
                to_ann.loses_answers = to_bob.is_silent = False
                to_ann.cut()
                to_bob.cut()
            flushing.join(TIMEOUT)
            thread.join(TIMEOUT)
            self.assertEqual(received, expected)
            self.assertEqual(sender.outbox.entries, ())
            self.assertEqual([one["content"] for one in bob.messages(room)][::-1], expected)

    def test_a_silent_connection_is_given_up(self) -> None:
        with two_in_a_room() as (ann, bob, room), link() as to_bob:
            reader = ChatClient(to_bob.url, storage=storage_of(bob))
            with contextlib.closing(reader.stream(room, silence_timeout=1)) as events:
                self.assertEqual(next(events).name, "connected")
                to_bob.is_silent = True
                ann.send(room, "into the silence")
                restored = threading.Timer(2, setattr, (to_bob, "is_silent", False))
                restored.start()
                names = [next(events).name, next(events).name]
            self.assertEqual(names, ["connected", "new_message"])


@needs_stack
@needs_control
class KilledReplica(IsolatedAsyncioTestCase):
    async def test_all_rooms_go_on_while_every_replica_of_chat_service_is_killed(self) -> None:
        expected = [str(number) for number in range(MESSAGES)]
        replicas = range(1, len(os.environ["CHAT_URLS"].split(",")) + 1)
        with two_in_a_room() as (ann, bob, room):
            async with (
                AsyncChatClient(api(), storage=storage_of(ann)) as sender,
                AsyncChatClient(api(), storage=storage_of(bob)) as reader,
            ):
                is_open = asyncio.Event()
                reading = asyncio.create_task(read_until_last_async(reader, expected, is_open))
                await asyncio.wait_for(is_open.wait(), TIMEOUT)
                share = MESSAGES // len(replicas)
                for number in replicas:
                    for text in expected[(number - 1) * share : number * share]:
                        sender.outbox.enqueue(room, text)
                    flushing = asyncio.create_task(sender.outbox.flush())
                    await asyncio.sleep(0.1)
                    await asyncio.to_thread(control, "kill", f"chat-service-{number}")
                    await asyncio.wait_for(flushing, TIMEOUT)
                self.assertEqual(await asyncio.wait_for(reading, TIMEOUT), expected)
            await asyncio.to_thread(chat_service_is_ready)
            self.assertEqual([one["content"] for one in bob.messages(room)][::-1], expected)
