"""`/`: transcription for people, in a browser.

page.html     what is on the page; its words are named, and stand in words.js
page.css      how it looks: light, dark, narrow
page.js       the whole: what was dropped or recorded -> a card each, two heard at a time
words.js      every word that a person reads
elements.js   makes elements; text goes in as text alone
server.js     the API: key, inventory, transcription as it comes
microphone.js a recording
card.js       one recording: how far it is, its lines, its player
lines.js      a line: its time, its speaker, its text, which can be mended
formats.js    lines -> txt, srt, vtt, json, as the server writes them

The browser is told to load nothing from elsewhere, to run no script but these files, and to take
no text for markup, so that nothing in a recording's name or in what was said becomes part of the
page. The page needs no key; whatever it shows comes by the API, which does.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

from fastapi import FastAPI
from starlette.responses import Response

_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_START: Final = "page.html"

_FILES: Final = (
    "page.css",
    "icon.svg",
    "page.js",
    "words.js",
    "elements.js",
    "server.js",
    "microphone.js",
    "card.js",
    "lines.js",
    "formats.js",
)

PATHS: Final = frozenset({"/", *(f"/page/{name}" for name in _FILES)})
"""What a browser asks for, and what therefore needs no key."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Recordings are played from the tab's own memory, hence blob:."""


def add_to(app: FastAPI) -> None:
    """Add the page and its files, read once."""
    _add(app, "/", _START)
    for name in _FILES:
        _add(app, f"/page/{name}", name)


def _add(app: FastAPI, path: str, name: str) -> None:
    content = resources.files(__name__).joinpath(name).read_bytes()
    kind = _KINDS[name.rpartition(".")[2]]

    @app.get(path, include_in_schema=False)
    async def file() -> Response:
        return Response(content, headers={**HEADERS, "Content-Type": kind})
