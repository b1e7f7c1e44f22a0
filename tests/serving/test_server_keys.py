"""API keys: made once, kept as hashes, revoked at the next request."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import UsageError
from runtime.server import keys
from runtime.server.keys import KeyFile, Keys

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "api-keys.json"


def test_the_file_holds_a_hash_and_no_key(path: Path) -> None:
    key = KeyFile.load(path).add("ward-7", NOW)
    content = path.read_text()
    assert key not in content
    entry = json.loads(content)["keys"][0]
    assert entry["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert len(key) >= 43


def test_what_is_written_is_what_is_read(path: Path) -> None:
    for name in ("a", "b", "c"):
        KeyFile.load(path).add(name, NOW)
    file = KeyFile.load(path)
    assert [entry.name for entry in file.entries] == ["a", "b", "c"]
    assert KeyFile.parse(path, file.to_bytes()) == file


@pytest.mark.parametrize(
    ("name", "message"),
    [("ward-7", "'ward-7' has a key already"), ("Ward 7", "key name 'Ward 7': expected")],
)
def test_a_name_is_refused_and_nothing_written(path: Path, name: str, message: str) -> None:
    KeyFile.load(path).add("ward-7", NOW)
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        KeyFile.load(path).add(name, NOW)
    assert caught.value.message.startswith(message)
    assert path.read_bytes() == before


def test_revoking_a_name_that_has_none(path: Path) -> None:
    KeyFile.load(path).add("ward-7", NOW)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="found 'ward-8'; there are: ward-7"):
        KeyFile.load(path).revoke("ward-8")
    assert path.read_bytes() == before


def test_keys_come_and_go_while_the_server_runs(path: Path) -> None:
    known = Keys({}, path)
    assert not known.required
    first = KeyFile.load(path).add("first", NOW)
    assert known.refresh()
    assert not known.refresh()
    assert known.required
    second = KeyFile.load(path).add("second", NOW)
    known.refresh()
    assert (known.caller(first), known.caller(second)) == ("first", "second")
    KeyFile.load(path).revoke("first")
    known.refresh()
    assert (known.caller(first), known.caller(second)) == (None, "second")
    path.unlink()
    known.refresh()
    assert known.caller(second) is None
    assert known.required, "the last key revoked is no open door"


def test_a_damaged_file_leaves_the_keys_as_they_were(path: Path) -> None:
    key = KeyFile.load(path).add("first", NOW)
    known = Keys({}, path)
    path.write_text('{"schema": "airgap/api-keys/v1", "keys": [{"name": "x"}]}')
    with pytest.raises(UsageError) as caught:
        known.refresh()
    assert f"'{path}' is damaged: " in caught.value.message
    assert "keys[0]: 'created' is missing" in caught.value.message
    assert known.caller(key) == "first"


@pytest.mark.parametrize("key", ["", "wrong", "airgap-", "ä" * 40, "\udcff"])
def test_a_wrong_key_is_nobody_s(path: Path, key: str) -> None:
    KeyFile.load(path).add("first", NOW)
    assert Keys({"API_KEYS[1]": "0123456789abcdef"}, path).caller(key) is None


def test_the_environment_s_keys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "0123456789abcdef, fedcba9876543210,")
    known = Keys(keys.given_by_environment(), path)
    assert known.required
    assert known.caller("0123456789abcdef") == "API_KEYS[1]"
    assert known.caller("fedcba9876543210") == "API_KEYS[2]"
    assert keys.given_by_environment() == {}


def test_a_short_key_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "0123456789abcdef,secret")
    with pytest.raises(UsageError) as caught:
        keys.given_by_environment()
    assert caught.value.message == "API_KEYS: key 2 has 6 characters, expected 16 or more"
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


def test_the_command(place: Any) -> None:
    made = place.airgap("apikey", "add", "ward-7")
    assert made.code == 0
    assert made.out.startswith(keys.PREFIX)
    assert made.out.strip() not in made.err
    assert "ward-7" in place.airgap("apikey", "list").out
    again = place.airgap("apikey", "add", "ward-7")
    assert (again.code, again.out) == (2, "")
    assert "'ward-7' has a key already" in again.err
    assert place.airgap("apikey", "revoke", "ward-7").code == 0
    assert place.airgap("apikey", "list", "--json").document["keys"] == []
