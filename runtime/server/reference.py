"""docs/api.md, from the API's own document: `python -m runtime.server.reference > docs/api.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from runtime.server import application, documentation
from runtime.server.application import House
from runtime.server.keys import Keys
from runtime.server.limits import Limits
from runtime.server.service import Source

_HEAD = """\
# The transcription API

Made from the code by `python -m runtime.server.reference`; a running server shows the same at
`/docs`, without any asset from outside, and gives it to programs at `/openapi.json`.

It is OpenAI's audio API: point a client at it with `base_url`. Errors have OpenAI's shape,
`{"error": {"message", "type", "param", "code"}}`. Every answer carries `X-Request-Id` (the
request's own where it sent one), and `X-Airgap-Damaged-Packets` where packets of a recording did
not decode: what they held is missing from the text.

Every transcript says where it comes from: `X-Airgap-Bundle`, `X-Airgap-Statement` (SHA-256 of what
the bundle's signers signed), `X-Airgap-Model` (each model at its commit), `X-Airgap-Engine`,
`X-Airgap-Options`, `X-Airgap-Audio` (SHA-256 of the recording). `verbose_json` and `diarized_json`
have the same as the object `airgap`. A server that was started with `--attest` signs it, with the
transcript, in the member `attestation` of those two and of the event `transcript.text.done`, and in
the header `X-Airgap-Attestation` of every other answer: [attestation](attestation.md).
"""


def text() -> str:
    """The whole file."""
    document = _document()
    return "\n".join([_HEAD, *map(_section, documentation.operations(document))])


def _document() -> dict[str, object]:
    """The API's document; nothing is loaded for it."""
    nowhere = Path("/nonexistent")
    house = House.of(Source(nowhere), Keys({}, nowhere), Limits())
    try:
        return application.api(house).openapi()
    finally:
        house.scheduler.close(1)


def _section(one: documentation.Operation) -> str:
    parts = [f"## {one.summary}", f"`{one.method} {one.path}`", one.about]
    if one.fields:
        rows = [
            f"| `{field.name}`{' (needed)' if field.needed else ''} | {_cell(field.kind)} "
            f"| {_cell(field.about)} |"
            for field in one.fields
        ]
        parts.append("\n".join(["| field | values; default | |", "|---|---|---|", *rows]))
    rows = [f"| {status} | {_cell(about)} |" for status, about in one.answers.items()]
    parts.append("\n".join(["| answer | |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(text())
