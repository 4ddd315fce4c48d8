"""The first conversation of the README, and the rest of the API, against a running stack."""

import base64
import contextlib
import hmac
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from unittest import TestCase

import httpx

from bigtech_chat import (
    AuthenticationError,
    ChatClient,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    SecondFactorError,
    ValidationError,
)

from .stack import PASSWORD, api, needs_stack, register, two_in_a_room

ROOT = Path(__file__).parent.parent


@needs_stack
class Story(TestCase):
    def test_the_conversations_of_the_readme_run_as_they_are_written(self) -> None:
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        self.assertGreaterEqual(len(blocks), 2)
        for block in blocks:
            program = block.replace("http://localhost:8000/api", api())
            environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
            command = [sys.executable, "-c", program]
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            self.assertEqual((ran.returncode, ran.stdout), (0, "minjun: 안녕하세요 👋\n"), ran.stderr)

    def test_friends_find_each_other_and_change_messages(self) -> None:
        with two_in_a_room() as (ann, bob, room):
            me = bob.me()
            self.assertEqual([user["id"] for user in ann.find_users(me["username"])], [bob.user_id])
            ann.request_friendship(bob.user_id, "안녕")
            self.assertEqual(bob.friend_requests()["received_requests"][0]["user_id"], ann.user_id)
            bob.accept_friendship(ann.user_id)
            self.assertEqual([friend["user_id"] for friend in ann.friends()], [bob.user_id])

            message = ann.send(room, "Half a thought")
            self.assertEqual(ann.send(room, "again", client_message_id=message["client_message_id"]), message)
            self.assertEqual(bob.mark_read(room)["read_count"], 1)
            self.assertEqual(bob.react(message["id"], "👍")["reactions"][0]["count"], 1)
            self.assertEqual(bob.react(message["id"], "👍", add=False)["reactions"], [])
            self.assertTrue(ann.edit(message["id"], "A thought")["is_edited"])
            reply = bob.send(room, "Indeed", reply_to=message["id"])
            self.assertEqual([found["id"] for found in ann.search_messages("inDEED", room)], [reply["id"]])
            ann.delete(message["id"])
            self.assertEqual([one["content"] for one in bob.messages(room)], ["Indeed"])

    def test_a_file_is_downloaded_from_its_url(self) -> None:
        with two_in_a_room() as (ann, bob, room):
            wanted = {"file_name": "a.txt", "file_size": 5, "file_type": "text/plain"}
            upload = ann.request("POST", f"/messages/{room}/uploads", body=wanted)
            httpx.put(upload["url"], headers=upload["headers"], content=b"bytes").raise_for_status()
            message = {"message_type": "file", "upload_id": upload["upload_id"]}
            sent = ann.request("POST", f"/messages/{room}", body=message)
            self.assertEqual(bob.download(sent["file_url"]), b"bytes")
            ann.delete(sent["id"])
            with self.assertRaises(NotFoundError):
                bob.download(sent["file_url"])

    def test_iterators_read_all_pages(self) -> None:
        with two_in_a_room() as (ann, bob, room):
            for number in range(120):
                ann.outbox.enqueue(room, str(number))
            self.assertEqual(len(ann.outbox.flush()), 120)
            self.assertEqual([one["content"] for one in bob.messages(room)], [str(n) for n in reversed(range(120))])
            group = ann.create_room([bob.user_id], "one other makes a direct room")
            self.assertEqual(group["id"], room)
            self.assertEqual([one["id"] for one in ann.rooms()], [room])

    def test_each_refusal_has_its_class(self) -> None:
        with two_in_a_room() as (ann, _, room), ChatClient(api()) as stranger:
            with self.assertRaises(AuthenticationError):
                stranger.login(ann.me()["email"], "Wrong1234!@")
            with self.assertRaises(ConflictError):
                stranger.register(ann.me()["email"], "another_name", PASSWORD)
            with self.assertRaises(ValidationError) as invalid:
                ann.send(room, "")
            self.assertEqual(invalid.exception.fields[0]["field"], "content")
            self.assertTrue(invalid.exception.request_id)
            with self.assertRaises(NotFoundError):
                ann.edit("0" * 24, "x")
            stranger.login(register("eve"), PASSWORD)
            with self.assertRaises(PermissionDeniedError):
                stranger.send(room, "x")
            with self.assertRaises(PermissionDeniedError), contextlib.closing(stranger.stream(room)) as events:
                next(events)

    def test_a_second_factor_is_asked_for_at_the_login(self) -> None:
        with ChatClient(api()) as chat:
            email = register("careful")
            chat.login(email, PASSWORD)
            secret = chat.request("POST", "/auth/mfa", body={"current_password": PASSWORD})["secret"]
            codes = chat.request("POST", "/auth/mfa/confirm", body={"code": totp(secret)})["recovery_codes"]
            chat.logout()
            with self.assertRaises(SecondFactorError):
                chat.login(email, PASSWORD)
            chat.login(email, PASSWORD, lambda: codes[0])
            self.assertEqual(chat.me()["email"], email)

    def test_a_session_is_renewed_and_ends(self) -> None:
        with ChatClient(api()) as chat:
            chat.login(register("ann"), PASSWORD)
            token = chat._session.access_token()
            chat._session.renew(token)
            self.assertNotEqual(chat._session.access_token(), token)
            chat.me()
            chat.logout()
            self.assertFalse(chat.is_logged_in)


def totp(secret: str) -> str:
    """The code of an authenticator app (RFC 6238)."""

    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, (int(time.time()) // 30).to_bytes(8), "sha1")
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF) % 1_000_000:06}"
