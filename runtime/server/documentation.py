"""The API's documentation: one page, from its own document, with nothing from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem;border-top:1px solid #8884;padding-top:1rem}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
pre{background:#8882;padding:.8rem;overflow:auto}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0}
tr{border-top:1px solid #8884}
:root{color-scheme:light dark}
"""

_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

CURL: Final = (
    "curl http://HOST:8000/v1/audio/transcriptions -H 'Authorization: Bearer KEY' \\\n"
    "  -F file=@meeting.m4a -F model=whisper-1"
)


@dataclass(frozen=True)
class Field:
    """A field of a form, or a part of a path."""

    name: str
    needed: bool
    kind: str
    about: str


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked.

    Attributes:
        answers: what each status means.
    """

    method: str
    path: str
    summary: str
    about: str
    fields: tuple[Field, ...]
    answers: Mapping[str, str]


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Everything that the API's document describes."""
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            yield Operation(
                method=method.upper(),
                path=path,
                summary=one.get("summary", ""),
                about=one.get("description", ""),
                fields=tuple(_fields(document, one)),
                answers={
                    status: answer["description"] for status, answer in one["responses"].items()
                },
            )


def render(document: Mapping[str, Any]) -> str:
    """The page."""
    info = document["info"]
    parts = "".join(_section(one) for one in operations(document))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}'
        f'</title><meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info['description'])}</p><pre>{escape(CURL)}</pre>"
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>'
        f"{parts}</html>"
    )


def _section(one: Operation) -> str:
    fields = "".join(
        f"<tr><td><code>{escape(field.name)}</code>{' (needed)' if field.needed else ''}</td>"
        f"<td>{escape(field.kind)}</td><td>{escape(field.about)}</td></tr>"
        for field in one.fields
    )
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(about)}</td></tr>"
        for status, about in one.answers.items()
    )
    return (
        f"<h2>{escape(one.summary)}</h2><p><code>{one.method} {escape(one.path)}</code></p>"
        f"<p>{escape(one.about)}</p><table>{fields}</table><h3>Answers</h3>"
        f"<table>{answers}</table>"
    )


def _fields(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[Field]:
    for parameter in operation.get("parameters", ()):
        kind = _kind(document, parameter["schema"])
        yield Field(parameter["name"], parameter.get("required", False), kind, "")
    content = operation.get("requestBody", {}).get("content", {})
    for body in content.values():
        form = _resolved(document, body["schema"])
        for name, schema in form["properties"].items():
            needed = name in form.get("required", ())
            about = schema.get("description", "")
            yield Field(name, needed, _kind(document, schema), about)


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A type in a word or two, with its values and its default where there are some."""
    schema = {**_resolved(document, schema)}
    default = schema.get("default")
    chosen = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), None)
    if chosen is not None:
        schema = {**_resolved(document, chosen)}
    words = "file" if "contentMediaType" in schema else str(schema.get("type", ""))
    if words == "array":
        inner = _resolved(document, schema["items"])
        words = f"list of {' | '.join(inner.get('enum', [str(inner.get('type'))]))}"
    elif "enum" in schema:
        words = " | ".join(schema["enum"])
    return f"{words}; {default}" if default is not None else words


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
