"""USE_S3_MODELS: what a server mounts out of the site's bucket before it starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import AirgapError, UntrustedError, UsageError
from runtime.verbs.from_bucket import mount_newest

MODELS = "s3://whisper-models/models"
MIB = 1 << 20


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, s3_site: Any, host: Any) -> Callable[..., str | None]:
    """What `airgap serve` does first, with the variable set."""

    def mount(name: str | None = None, said: str = "true") -> str | None:
        monkeypatch.setenv("USE_S3_MODELS", said)
        return mount_newest(host.root, name)

    return mount


def version(host: Any, name: str = "ward") -> str:
    mounts = {one["name"]: one for one in host.airgap("list", "--json").document["mounts"]}
    return str(mounts[name]["version"])


def refusals(host: Any) -> list[tuple[str, str]]:
    """What was refused, by the audit log: the action, and the bundle."""
    said = host.airgap("audit", "show", "--last", "50", "--json")
    facts = [one["facts"] for one in said.document["events"] if one["event"] == "refusal"]
    return [(one["action"], one["bundle"]) for one in facts]


def pushed(host: Any, *bundles: Path) -> None:
    said = host.airgap("push", *bundles, MODELS)
    assert said.code == 0, said.err


def test_the_newest_by_its_signed_number_is_mounted_and_then_nothing_more_comes(
    host: Any, write: Callable[..., Path], s3_site: Any, asked: Callable[..., str | None]
) -> None:
    old = write("z-newest", version="9.9.9", sequence=3)
    new = write("a-oldest", version="1.0.0", sequence=8)
    pushed(host, new, old)
    assert asked() == "ward"
    assert version(host) == "1.0.0"
    assert list((host.root / "pulled").iterdir()) == []
    s3_site.line.sent = 0
    s3_site.line.seen.clear()
    assert asked() == "ward"
    assert s3_site.line.asked("GET", "a-oldest.tar.zst") != []
    assert not [one for one in s3_site.line.seen if one[2]]
    pushed(host, write("newer", version="1.1.0", sequence=9))
    assert asked() == "ward"
    assert version(host) == "1.1.0"


def test_the_variable_is_spent_and_must_say_yes_or_no(
    host: Any, asked: Callable[..., str | None], s3_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(said="false") is None
    assert mount_newest(host.root, "ward") == "ward"
    with pytest.raises(UsageError, match="USE_S3_MODELS is 'perhaps'"):
        asked(said="perhaps")
    assert s3_site.line.seen == []


def test_what_nobody_here_trusts_is_passed_over(
    host: Any,
    write: Callable[..., Path],
    bob: Any,
    asked: Callable[..., str | None],
) -> None:
    pushed(host, write("forged", [bob], version="9.0.0", sequence=99))
    with pytest.raises(UntrustedError):
        asked()
    assert host.airgap("list", "--json").document["mounts"] == []
    assert refusals(host) == [("verify", f"{MODELS}/ward-9.0.0/forged.tar.zst")]
    pushed(host, write("sound", version="1.0.0"))
    assert asked() == "ward"
    assert "passed over" in host.speak()[1]
    assert version(host) == "1.0.0"


def test_a_store_that_fails_stops_no_server_that_has_a_mount(
    mounted: Any, s3_site: Any, asked: Callable[..., str | None]
) -> None:
    s3_site.line.refuse = lambda _method, _path: 403
    assert asked() is None
    assert "what is mounted is served" in mounted.speak()[1]
    assert version(mounted) == "1.0.0"


def test_a_store_that_fails_stops_a_server_without_a_mount(
    host: Any, s3_site: Any, asked: Callable[..., str | None]
) -> None:
    with pytest.raises(AirgapError, match="holds no bundle"):
        asked()
    s3_site.line.refuse = lambda _method, _path: 403
    with pytest.raises(AirgapError, match="answered 403"):
        asked()


def test_a_damaged_newest_leaves_what_is_mounted(
    mounted: Any, write: Callable[..., Path], s3_site: Any, asked: Callable[..., str | None]
) -> None:
    pushed(mounted, write("newer", version="1.1.0", sequence=8))
    key = "models/ward-1.1.0/newer.tar.zst"
    content = bytearray(s3_site.read(key))
    content[-70_000] ^= 1
    s3_site.swap(key, bytes(content))
    asked()
    assert "what is mounted is served" in mounted.speak()[1]
    assert version(mounted) == "1.0.0"
    assert list((mounted.root / "pulled").iterdir()) == []


def test_of_several_names_one_must_be_given(
    host: Any, write: Callable[..., Path], asked: Callable[..., str | None]
) -> None:
    pushed(host, write("ward"), write("clinic", title="clinic"))
    with pytest.raises(UsageError, match="several names: clinic, ward"):
        asked()
    assert asked("clinic") == "clinic"
    assert version(host, "clinic") == "1.0.0"
