#!/usr/bin/env python3
"""Writes docs/asyncapi.json: the live streams and the Kafka topics.

The events of the streams are those of the API document, the events of the topics the golden files of crates/common, with the topics
and keys of docs/events.md. Tests compare all three with the code. A golden value shows one type, so the fields that may be null are those
that are an `Option` in the event's type in crates/common, and its `Origin`. `.ci/check-documents` fails if the output differs.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
API = json.loads((ROOT / "infrastructure/docker/web/openapi.json").read_text())
GOLDEN = ROOT / "crates/common/tests/golden"
EVENTS = ROOT / "crates/common/src/events"
TYPES = dict(re.findall(r"pub struct (\w+) \{(.*?)\n\}", "".join(file.read_text() for file in EVENTS.glob("*.rs")), re.DOTALL))
HAS_ID = {
    "connected": "Has a line `id:`, unless `resync` follows.",
    "chat_room_left": "Has no id. A resuming stream sends it for each membership that ended meanwhile.",
}
SUMMARY = {
    "message_edited": "A message was edited. The data are the whole message.",
    "chat_room_settings": "The caller changed their settings for a room, at this or another client.",
}
STREAM = (
    "Server-sent events. docs/streaming.md is its guide. A client that comes back sends the last id as the header `Last-Event-ID`, or as "
    "`last_event_id` in the query, and receives what followed."
)
REQUEST = {
    "http": {
        "method": "GET",
        "query": {"type": "object", "properties": {"last_event_id": {"type": "string"}, "ticket": {"type": "string"}}},
        "bindingVersion": "0.3.0",
    }
}


def schemas_of_streams():
    """The schemas of the API document that the events of the streams need, with their own names."""
    found, open_names = {}, ["StreamEvent"]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found[name] = API["components"]["schemas"][name]
            open_names += re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found[name]))
    return found


def nullable_fields(event):
    """The fields of an event that may be null. One with an encoding of its own has no null."""
    fields = TYPES[event] + (TYPES["Origin"] if "origin: Origin" in TYPES[event] else "")
    return re.findall(r"(?<!with = \"known\"\)\]\n)    pub (\w+): Option<", fields)


def event_schema(event, golden):
    """The schema of an event by its golden value."""
    schema = schema_of(golden)
    for name in nullable_fields(event):
        schema["properties"][name]["type"] = [schema["properties"][name]["type"], "null"]
    return schema


def schema_of(value):
    """The schema of a golden value."""
    if isinstance(value, dict):
        properties = {name: schema_of(field) for name, field in value.items()}
        return {"type": "object", "required": list(value), "properties": properties}
    if isinstance(value, list):
        return {"type": "array", "items": schema_of(value[0])}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer"}
    # Every field that is null in a golden file is a text.
    if value is None:
        return {"type": "string"}
    is_time = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value)
    return {"type": "string", **({"format": "date-time"} if is_time else {})}


def stream_examples(path):
    """The examples of a stream by the names of their events."""
    examples = API["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]["examples"]
    return {name: example["value"] for name, example in examples.items()}


def stream_messages(schemas, of_room, of_all):
    """A message for each event of the streams. Its examples are those of the two streams where they differ."""
    messages = {}
    for variant in schemas["StreamEvent"]["oneOf"]:
        event = variant["properties"]["event"]["enum"][0]
        data = variant["properties"]["data"]["contentSchema"]
        examples = dict.fromkeys(stream[event]["data"] for stream in [of_room, of_all] if event in stream)
        summary = schemas[data["$ref"].rsplit("/", 1)[1]].get("description", "").splitlines()
        messages[event] = {
            "name": event,
            "title": f"The event {event} of a stream",
            "summary": SUMMARY.get(event, summary[0] if summary else ""),
            "description": HAS_ID.get(event, "Has a line `id:`." if "id" in of_all[event] else "Has no id, and is not repeated by a resuming stream."),
            "contentType": "application/json",
            "payload": data,
            "examples": [{"payload": json.loads(data)} for data in examples],
        }
    return messages


def topic_messages():
    """A message for each event of the topics, by topic."""
    topics = {}
    for part in (ROOT / "docs/events.md").read_text().split("\n### ")[1:]:
        name, text = part.split("\n", 1)
        topic = re.search(r"Topic `([^`]+)`", text)[1]
        key = re.search(r"key (.+?) \(here `([^`]+)`\)", text, re.DOTALL)
        golden = json.loads((GOLDEN / f"{name}.json").read_text())
        topics.setdefault(topic, {})[name] = {
            "name": name,
            "title": f"The event {name}",
            "summary": " ".join(text.strip().split("\n\n")[0].split()),
            "contentType": "application/json",
            "payload": event_schema(name, golden),
            "bindings": {"kafka": {"key": {"type": "string", "description": " ".join(key[1].split()), "examples": [key[2]]}}},
            "examples": [{"name": "golden", "payload": golden}],
        }
    return topics


def references(names):
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def document():
    schemas, topics = schemas_of_streams(), topic_messages()
    of_room, of_all = stream_examples("/messages/stream/{room_id}"), stream_examples("/messages/stream")
    streams = stream_messages(schemas, of_room, of_all)
    http = {"servers": [{"$ref": "#/servers/gateway"}]}
    channels = {
        "room": {
            "address": "/messages/stream/{room_id}",
            "title": "The stream of a room",
            "description": STREAM,
            "parameters": {"room_id": {"description": "The room"}},
            "messages": references(of_room),
            **http,
        },
        "allRooms": {
            "address": "/messages/stream",
            "title": "The stream of all rooms of a user",
            "description": STREAM,
            "messages": references(streams),
            **http,
        },
    }
    operations = {
        "listenToRoom": {"action": "send", "channel": {"$ref": "#/channels/room"}, "bindings": REQUEST},
        "listenToAllRooms": {"action": "send", "channel": {"$ref": "#/channels/allRooms"}, "bindings": REQUEST},
    }
    for topic, messages in topics.items():
        channels[topic] = {
            "address": topic,
            "title": f"The topic {topic}",
            "description": "One flat object for each record. docs/events.md is its guide.",
            "messages": references(messages),
            "servers": [{"$ref": "#/servers/kafka"}],
        }
        operations[f"publish.{topic}"] = {"action": "send", "channel": {"$ref": f"#/channels/{topic}"}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "BigTech Chat",
            "version": API["info"]["version"],
            "description": "The events that the services send: on live streams to clients, on Kafka to each other.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {
                "host": "localhost:8000",
                "pathname": "/api",
                "protocol": "http",
                "security": [{"$ref": "#/components/securitySchemes/bearer"}, {"$ref": "#/components/securitySchemes/ticket"}],
            },
            "kafka": {"host": "localhost:19092", "protocol": "kafka"},
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "ticket": {"type": "httpApiKey", "in": "query", "name": "ticket"},
            },
            "messages": {**streams, **{name: message for group in topics.values() for name, message in group.items()}},
            "schemas": schemas,
        },
    }


if __name__ == "__main__":
    text = json.dumps(document(), ensure_ascii=False, indent=2)
    (ROOT / "docs/asyncapi.json").write_text(f"{text}\n")
