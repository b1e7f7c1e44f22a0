"""~/.netrc authorises what nothing else does, and replaces no token and no signature."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.fetch import fetch
from bundler.lock import Lock
from bundler.sources import Access
from bundler.sources.https import Https
from bundler.sources.huggingface import HuggingFace
from bundler.sources.s3 import S3

MakeLock = Callable[..., Lock]
FILES = {"a.nemo": b"alpha" * 1000}
BASIC = "Basic " + base64.b64encode(b"alice:of-the-netrc").decode()


@pytest.fixture(autouse=True)
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry for every host, as sites with one proxy of everything have it."""
    place = tmp_path / "netrc"
    place.write_text("default login alice password of-the-netrc\n")
    place.chmod(0o600)
    monkeypatch.setenv("NETRC", str(place))


def authorised(server: Any) -> list[str | None]:
    return [said.get("authorization") for said in server.headers]


def redirected(kit: Any, to: str) -> Any:
    return kit.Reply(302, headers={"Location": to})


def test_a_plain_address_is_authorised_by_it(make_lock: MakeLock, access: Access, web: Any) -> None:
    web.files.update(FILES)
    fetch(make_lock(FILES, Https(f"{web.url}/models")), access)
    assert authorised(web) == [BASIC]


def test_a_token_is_not_replaced(
    make_lock: MakeLock, access: Access, hub: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", kit.GOOD_TOKEN)
    hub.repositories["o/m"] = kit.HubRepository(dict(FILES), gated="auto")
    fetch(make_lock(FILES, HuggingFace("o/m")), access)
    assert set(authorised(hub)) == {f"Bearer {kit.GOOD_TOKEN}"}


def test_a_token_is_not_replaced_where_its_own_host_redirects(
    make_lock: MakeLock, access: Access, hub: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", kit.GOOD_TOKEN)
    hub.repositories["o/m"] = kit.HubRepository({**FILES, "old": b""}, gated="auto")
    there = f"{hub.url}/o/m/resolve/{kit.COMMIT}/a.nemo"
    hub.repositories["o/m"].served["old"] = redirected(kit, there)
    hub.repositories["o/m"].files["old"] = FILES["a.nemo"]
    fetch(make_lock({"old": FILES["a.nemo"]}, HuggingFace("o/m")), access)
    assert authorised(hub) == [f"Bearer {kit.GOOD_TOKEN}"] * 2


@pytest.mark.parametrize(
    ("query", "said"), [("", BASIC), ("?X-Amz-Signature=0&x=1", None), ("?Signature=0", None)]
)
def test_another_host_never_sees_the_token_and_a_signed_address_no_password(
    *, query: str, said: str | None, make_lock: MakeLock, access: Access, hub: Any, web: Any,
    kit: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", kit.GOOD_TOKEN)
    web.files.update(FILES)
    there = web.url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    hub.repositories["o/m"] = kit.HubRepository(dict(FILES), gated="auto")
    hub.repositories["o/m"].served["a.nemo"] = redirected(kit, f"{there}/models/a.nemo{query}")
    fetch(make_lock(FILES, HuggingFace("o/m")), access)
    assert authorised(web) == [said]


def test_an_object_store_sees_the_signature_alone(
    make_lock: MakeLock, access: Access, web: Any
) -> None:
    web.files.update({f"o/m/{path}": content for path, content in FILES.items()})
    fetch(make_lock(FILES, S3("o/m", "models")), access)
    assert authorised(web) == [None]
    assert "Signature=" in web.asked[0][1]
