"""A session of requests in which ~/.netrc never stands in for what a request has already.

requests lets the entry of a host replace an `Authorization` header, a token's for example, also
where a redirect leads; and where an address is signed, a password beside it is one too many, which
object stores refuse. Heavy: imported where something is fetched.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.structures import CaseInsensitiveDict

SIGNED: Final = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig"})
"""What the query of a signed address has: S3, Google, CloudFront and older S3, Azure."""


class Session(requests.Session):
    """Asks ~/.netrc for requests that nothing else authorises."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Make a request ready to be sent."""
        url, headers = str(request.url), CaseInsensitiveDict(request.headers or {})
        # A user in the address comes before a header, as for huggingface_hub.
        if _is_signed(url) or ("Authorization" in headers and not urlsplit(url).username):
            request.auth = _as_it_is
        return super().prepare_request(request)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Make a request ready for where a redirect leads: no header of this host for another."""
        here, there = str(response.request.url), str(prepared_request.url)
        if self.should_strip_auth(here, there):  # type: ignore[no-untyped-call] # its stubs
            prepared_request.headers.pop("Authorization", None)
        if "Authorization" not in prepared_request.headers and not _is_signed(there):
            super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call] # its stubs


def _is_signed(url: str) -> bool:
    return any(name.lower() in SIGNED for name, _value in parse_qsl(urlsplit(url).query))


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authorise nothing: where requests is given a way to authorise, it asks no ~/.netrc."""
    return request
