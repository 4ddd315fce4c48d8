"""A conversation by the client that openapi-python-client makes from the API document, the package `api`. `GATEWAY_URL` names a
running stack. Ends with an error if an answer is another one than expected."""

import os
import uuid

from api.api.auth import log_in_with_json, register
from api.api.messages import list_messages, send_message
from api.api.requests import answer_friend_request, send_friend_request
from api.api.rooms import create_room
from api.client import AuthenticatedClient, Client
from api.models import (
    ErrorBody,
    FriendRequestAnswer,
    Friendship,
    Login,
    MessageBody,
    MessagePage,
    NewFriendRequest,
    NewMessage,
    NewRoom,
    NewUser,
    RoomBody,
    SentFriendRequest,
    Tokens,
    UserResponse,
)

API = os.environ["GATEWAY_URL"] + "/api"
PASSWORD = "Test1234!@"


def expect(kind, answer):
    """The answer, which is of this type."""
    assert isinstance(answer, kind), answer
    return answer


def sign_up(name):
    """A client of a new user who is logged in, and the id of the user."""
    username = f"{name}_{uuid.uuid4().hex[:8]}"
    email = f"{username}@example.com"
    client = Client(base_url=API, raise_on_unexpected_status=True)
    new = NewUser(email=email, username=username, password=PASSWORD)
    user = expect(UserResponse, register.sync(client=client, body=new))
    tokens = expect(Tokens, log_in_with_json.sync(client=client, body=Login(email=email, password=PASSWORD)))
    token = tokens.access_token
    return AuthenticatedClient(base_url=API, token=token, raise_on_unexpected_status=True), user.id


def main():
    (ann, ann_id), (bob, bob_id) = sign_up("ann"), sign_up("bob")

    wanted = NewFriendRequest(user_id_2=bob_id, message="Hello")
    request = expect(SentFriendRequest, send_friend_request.sync(client=ann, body=wanted))
    assert request.status == "pending", request
    answer = answer_friend_request.sync(ann_id, client=bob, body=FriendRequestAnswer(action="accept"))
    assert expect(Friendship, answer).status == "accepted", answer

    room = expect(RoomBody, create_room.sync(client=ann, body=NewRoom(participant_ids=[bob_id])))
    sent = expect(MessageBody, send_message.sync(room.id, client=ann, body=NewMessage(content="안녕하세요 👋")))

    page = expect(MessagePage, list_messages.sync(room.id, client=bob, limit=10))
    assert [message.id for message in page.messages] == [sent.id], page
    assert page.messages[0].content == "안녕하세요 👋", page

    refused = expect(ErrorBody, list_messages.sync(2_000_000_000, client=ann))
    assert refused.error == "resource_not_found", refused


main()
