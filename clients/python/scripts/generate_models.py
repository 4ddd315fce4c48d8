"""Writes the TypedDicts in src/bigtech_chat/models from the OpenAPI documents of a running stack.

    eval "$(cargo stack env)"; python3 scripts/generate_models.py [--check]

Reads USER_URL, FRIEND_URL and CHAT_URL. `--check` writes nothing and fails if a file is not up to date.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
import urllib.request
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "src" / "bigtech_chat" / "models"
SERVICES = ("user", "friend", "chat")
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
LINE_LENGTH = 120

Schema = dict[str, Any]


def class_name(name: str) -> str:
    """`Text.1.64` is not an identifier of Python; `Text1To64` is."""
    name = re.sub(r"\.(\d+)\.(\d+)$", r"\1To\2", name)
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def type_of(schema: Schema) -> str:
    """The Python type of a schema."""
    if "$ref" in schema:
        return class_name(schema["$ref"].rsplit("/", 1)[-1])
    if "const" in schema:
        return f"Literal[{literal(schema['const'])}]"
    if "enum" in schema:
        return f"Literal[{', '.join(literal(value) for value in schema['enum'])}]"
    for keyword in ("oneOf", "anyOf"):
        if keyword in schema:
            return union(type_of(member) for member in schema[keyword])
    if len(schema.get("allOf", [])) == 1:
        return type_of(schema["allOf"][0])
    kinds = schema.get("type", [])
    return union(type_of_kind(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)) or "Any"


def type_of_kind(kind: str, schema: Schema) -> str:
    if kind == "array":
        return f"list[{type_of(schema.get('items', {}))}]"
    if kind == "object":
        extra = schema.get("additionalProperties")
        return f"dict[str, {type_of(extra) if isinstance(extra, dict) else 'Any'}]"
    return SCALARS[kind]


def literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def union(types: Any) -> str:
    members = list(dict.fromkeys(types))
    return " | ".join(sorted(members, key=lambda member: member == "None"))


def docstring(text: str | None, indent: str = "    ") -> list[str]:
    if not text:
        return []
    text = text.strip().replace("\\", "\\\\").replace('"""', "'''")
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        for item in re.split(r"\n(?=- )", paragraph):
            hanging = "  " if item.startswith("- ") else ""
            lines += textwrap.wrap(item, LINE_LENGTH - 12, subsequent_indent=hanging, break_on_hyphens=False)
        lines.append("")
    lines.pop()
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    return [f'{indent}"""{lines[0]}', *(f"{indent}{line}".rstrip() for line in lines[1:]), f'{indent}"""']


def definition(name: str, schema: Schema) -> list[str]:
    """A class for an object, and an alias for anything else."""
    parts = schema.get("allOf", [schema])
    bases = [type_of(part) for part in parts if "$ref" in part]
    objects = [part for part in parts if "properties" in part]
    if not objects and not (len(parts) > 1 and bases):
        kind = type_of(schema)
        # Quoted, because a class that it names may follow later in the module.
        alias = [f"{class_name(name)}: TypeAlias = " + (f"'{kind}'" if '"' in kind else f'"{kind}"')]
        return alias + docstring(schema.get("description"), "")
    lines = [f"class {class_name(name)}({', '.join(bases) or 'TypedDict'}):"]
    if description := docstring(schema.get("description")):
        lines += [*description, ""]
    for part in objects:
        required = set(part.get("required", []))
        for field, value in part["properties"].items():
            kind = type_of(value)
            if field not in required:
                kind = f"NotRequired[{kind}]"
            lines += [f"    {field}: {kind}", *docstring(value.get("description"))]
    return lines if len(lines) > 1 else [*lines, "    pass"]


def in_order(schemas: dict[str, Schema]) -> list[str]:
    """The names, with the bases of a class before the class."""
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        for part in schemas[name].get("allOf", []):
            if "$ref" in part:
                visit(part["$ref"].rsplit("/", 1)[-1])
        done[name] = None

    for name in sorted(schemas):
        visit(name)
    return list(done)


def module(service: str) -> str:
    url = os.environ[f"{service.upper()}_URL"] + "/openapi.json"
    with urllib.request.urlopen(url, timeout=10) as response:
        schemas: dict[str, Schema] = json.load(response)["components"]["schemas"]
    body = "\n\n\n".join("\n".join(definition(name, schemas[name])) for name in in_order(schemas))
    typing = ", ".join(name for name in ("Any", "Literal", "NotRequired", "TypeAlias", "TypedDict") if name in body)
    head = f'"""Types of {service}-service\'s API. Generated by scripts/generate_models.py; do not edit."""'
    return f"{head}\n\nfrom __future__ import annotations\n\nfrom typing import {typing}\n\n\n{body}\n"


def main() -> int:
    stale = []
    for service in SERVICES:
        path = TARGET / f"{service}.py"
        text = module(service)
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"not up to date: {', '.join(stale)}; run scripts/generate_models.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
