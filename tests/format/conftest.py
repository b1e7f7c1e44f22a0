"""Builders of small bundles: a sound one, and the same with exactly one defect.

A `Recipe` puts a bundle together from its parts without `airgap.pack`, and signs whatever came
out. That is an attacker inside the build, who holds a key: only so are the checks that stand
behind the signature reached. Test modules cannot import each other (importlib mode), so all of
it is offered as fixtures.
"""

import hashlib
import os
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from airgap import frames, signing, strict_json, tar, verify, volumes
from airgap.archive import OpenBundle
from airgap.envelope import PAYLOAD_TYPE, Envelope
from airgap.errors import DamagedError
from airgap.keys import ECDSA_P384, ED25519
from airgap.limits import FRAME_PLAIN
from airgap.manifest import File
from airgap.policy import Policy, Signer, TrustedKey

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CREATED = "2026-01-02T03:04:05Z"
COMMIT = "0d3d19a32d3338f10357c0889762bd8d64bbdeba"
SNAPSHOT = f"hf/hub/models--org--name/snapshots/{COMMIT}"
CONTENTS = {
    "README.txt": b"A bundle for tests.\n",
    "hf/hub/models--org--name/refs/main": COMMIT.encode(),
    f"{SNAPSHOT}/config.json": b'{"alignment_heads": []}\n' * 60,
    f"{SNAPSHOT}/empty.bin": b"",
    # 129 bytes whose last part is too long for a ustar header: a pax record is needed.
    f"{SNAPSHOT}/{'long-' * 22}name.bin": bytes(range(256)) * 3,
    "samples/Grüße.txt": "Grüße aus dem Archiv\n".encode(),
}


@dataclass(frozen=True)
class Person:
    """A signer with one key of each classical algorithm."""

    name: str
    keys: tuple[signing.PrivateKey, ...]

    @classmethod
    def new(cls, name, algorithms=(ED25519, ECDSA_P384)):
        return cls(name, tuple(signing.generate(algorithm) for algorithm in algorithms))

    @property
    def public(self):
        return tuple(key.public for key in self.keys)

    @property
    def signer(self):
        algorithms = tuple(sorted({key.algorithm for key in self.public}))
        return Signer(self.name, algorithms, {key.key_id: TrustedKey(key) for key in self.public})


def policy_of(*people, threshold=None, bundles=("*",)):
    """A policy that wants all of these people, each with all of their algorithms."""
    wanted = len(people) if threshold is None else threshold
    return Policy("the test's policy", wanted, bundles, {one.name: one.signer for one in people})


def manifest_value(contents=None, **changes):
    """A sound manifest as a JSON value, with files laid out as the dialect has them."""
    contents = CONTENTS if contents is None else contents
    files = tuple(
        File(
            path=path,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            git_blob=None,
            offset=0,
            artifact="tiny" if path.startswith("hf/") else None,
        )
        for path, content in contents.items()
    )
    value = {
        "format": 1,
        "name": "demo",
        "version": "1.0.0",
        "sequence": 7,
        "created": CREATED,
        "expires": "2027-01-01T00:00:00Z",
        "base": None,
        "profile": "demo",
        "profile_sha256": "1" * 64,
        "lock_sha256": "2" * 64,
        "built_with": {"airgap": "0.1.0", "zstd": "1.5.7"},
        "platform": "any",
        "features": {"diarization_enabled": False},
        "artifacts": [
            {
                "id": "tiny",
                "role": "asr",
                "engine": "faster-whisper",
                "path": "hf/hub",
                "repository": "org/name",
                "commit": COMMIT,
                "licence": "MIT",
                "gated": False,
            }
        ],
        "files": [
            vars(file) | {"offset": laid_out.offset}
            for file, (_header, laid_out) in zip(files, tar.members(files, CREATED), strict=True)
        ],
        "derived": [],
        "built": [],
        "scan": None,
        "dry_load": None,
    }
    return value | changes


def unchanged(value):
    return value


@dataclass(frozen=True)
class Recipe:
    """Everything that a bundle is made of; what a test does not replace follows from the rest.

    Attributes:
        manifest: the manifest, as a JSON value.
        contents: the bytes of each of its files.
        algorithm: the hash of table, frames and manifest.
        manifest_bytes: what `manifest.json` holds, where it is not the manifest's serialisation.
        first: the plain bytes of frame 0.
        payload: the plain bytes of all other frames.
        cut: the plain bytes of each payload frame.
        stored: frames as they are stored, by number.
        slots: what the table says of a frame, (stored, plain), by number.
        table: changes the table's bytes, before their digest is signed.
        statement: changes the statement as a JSON value.
        statement_bytes: changes its bytes.
    """

    manifest: Mapping
    contents: Mapping[str, bytes]
    algorithm: str = "sha256"
    manifest_bytes: bytes | None = None
    first: bytes | None = None
    payload: bytes | None = None
    cut: tuple[bytes, ...] | None = None
    stored: Mapping[int, bytes] = field(default_factory=dict)
    slots: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    table: Callable = unchanged
    statement: Callable = unchanged
    statement_bytes: Callable = unchanged

    def but(self, **changes):
        return replace(self, **changes)

    def but_manifest(self, **changes):
        return replace(self, manifest={**self.manifest, **changes})

    def but_file(self, index, **changes):
        """The same with other words about one file; the tar stays as it was."""
        files = [dict(file) for file in self.manifest["files"]]
        files[index].update(changes)
        return self.but(payload=self.payload or self.tape()).but_manifest(files=files)

    def tape(self):
        """The payload that the manifest's own words make."""
        pieces = []
        for file in self.manifest["files"]:
            if file["offset"] is not None:
                content = self.contents[file["path"]]
                pieces += [
                    tar.header(file["path"], len(content), self.manifest["created"]),
                    content,
                    tar.padding(len(content)),
                ]
        return b"".join([*pieces, tar.END])

    def build(self, *people):
        """The bundle's bytes, signed by these people."""
        content = self.manifest_bytes
        if content is None:
            content = strict_json.readable(self.manifest)
        first = self.first
        if first is None:
            first = tar.manifest_member(content, self.manifest["created"])
        payload = self.tape() if self.payload is None else self.payload
        cut = self.cut or [
            payload[at : at + FRAME_PLAIN] for at in range(0, len(payload), FRAME_PLAIN)
        ]
        plain = [first, *cut]
        stored = [
            self.stored.get(number) or frames.compress(piece) for number, piece in enumerate(plain)
        ]
        table = self.table(self._table(plain, stored))
        statement = self._statement(content, plain, stored, table)
        signed = self.statement_bytes(strict_json.compact(self.statement(statement)))
        envelope = signing.sign(
            Envelope(signed, ()), [key for person in people for key in person.keys]
        )
        return b"".join([envelope.to_head(), frames.skippable(frames.TABLE_MAGIC, table), *stored])

    def _table(self, plain, stored):
        lines = [
            struct.pack("<II", *self.slots.get(number, (len(there), len(piece))))
            + frames.digest(there, self.algorithm)
            for number, (piece, there) in enumerate(zip(plain, stored, strict=True))
        ]
        start = struct.pack("<8s16sQ", b"AIRGAPT1", self.algorithm.encode(), len(lines))
        return start + b"".join(lines)

    def _statement(self, content, plain, stored, table):
        digests = {
            "manifest.json": frames.digest(content, self.algorithm).hex(),
            "payload": frames.digest(b"".join(stored), self.algorithm).hex(),
            "table": frames.digest(table, self.algorithm).hex(),
        }
        told = ("name", "version", "sequence", "created", "expires", "base")
        total = sum(
            self.slots.get(number, (0, len(piece)))[1] for number, piece in enumerate(plain)
        )
        return {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "urn:airgap-bundler:bundle:v1",
            "subject": [
                {"name": name, "digest": {self.algorithm: digest}}
                for name, digest in digests.items()
            ],
            "predicate": {key: self.manifest.get(key) for key in told}
            | {
                "hash": self.algorithm,
                "table_size": len(table),
                "manifest_size": len(content),
                "frames": len(plain),
                "plain_total": total,
            },
        }


class Memory:
    """A bundle in memory; with `size=None` it is read like a pipe."""

    def __init__(self, data, *, sized=True):
        self.name = "a bundle in memory"
        self.data = data
        self.size = len(data) if sized else None
        self.volumes = ()

    def read_into(self, offset, buffer):
        found = memoryview(self.data)[offset : offset + len(buffer)]
        if len(found) != len(buffer):
            raise DamagedError(f"'{self.name}' ends", rule="archive.size")
        memoryview(buffer)[:] = found

    def expect_end(self, offset):
        if self.size is not None and self.size != offset:
            raise DamagedError(f"'{self.name}' has another size", rule="archive.size")

    def read_to_end(self, offset):
        if len(self.data) > offset:
            raise DamagedError(f"'{self.name}' goes on", rule="archive.size")


class Writes:
    """Whether this process opens anything for writing, or renames, makes or removes anything."""

    def __init__(self):
        self.watching = False
        self.seen = []

    def hear(self, event, arguments):
        if not self.watching:
            return
        if event == "open":
            if isinstance(arguments[2], int) and arguments[2] & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            ):
                self.seen.append((event, arguments[0]))
        elif event.startswith(
            ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate")
        ):
            self.seen.append((event, arguments))

    def __enter__(self):
        self.watching, self.seen = True, []
        return self

    def __exit__(self, *_error):
        self.watching = False


WRITES = Writes()
"""One for the process: an audit hook cannot be taken back."""


@pytest.fixture(scope="session")
def writes():
    sys.addaudithook(WRITES.hear)
    return WRITES


@pytest.fixture(scope="session")
def alice():
    return Person.new("alice")


@pytest.fixture(scope="session")
def bob():
    return Person.new("bob")


@pytest.fixture(scope="session")
def mallory():
    """Someone with keys that no policy names."""
    return Person.new("mallory")


@pytest.fixture(scope="session")
def person():
    return Person.new


@pytest.fixture(scope="session", name="policy_of")
def policy_of_fixture():
    return policy_of


@pytest.fixture(scope="session")
def trusting_alice(alice):
    """The policy of a host that trusts alice alone."""
    return policy_of(alice)


@pytest.fixture(scope="session", name="manifest_value")
def manifest_value_fixture():
    return manifest_value


@pytest.fixture(scope="session")
def memory():
    return Memory


@pytest.fixture(scope="session")
def recipe():
    return Recipe(manifest_value(), CONTENTS)


@pytest.fixture(scope="session")
def recipe_of():
    """A sound recipe of other files."""
    return lambda contents, **changes: Recipe(manifest_value(contents, **changes), contents)


@pytest.fixture(scope="session")
def large_recipe(recipe_of):
    """Three payload frames: two full ones and a rest; the second file spans all three."""
    return recipe_of(
        {
            "README.txt": b"three frames\n",
            f"{SNAPSHOT}/model.bin": hashlib.shake_256(b"noise").digest(2 * FRAME_PLAIN + 100_000),
            f"{SNAPSHOT}/vocabulary.txt": b"a b c\n" * 1000,
        }
    )


@pytest.fixture(scope="session")
def bundle(recipe, alice):
    """A sound bundle of some KiB, signed by alice."""
    return recipe.build(alice)


@pytest.fixture(scope="session")
def large_bundle(large_recipe, alice):
    return large_recipe.build(alice)


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def verified():
    """Verify bytes (or any source) up to the frames."""

    def verified(source, policy, accepted=None):
        if isinstance(source, bytes | bytearray):
            source = Memory(source)
        return verify.verify(source, policy, accepted, NOW)

    return verified


@pytest.fixture
def refused(tmp_path, writes, alice):
    """A bundle on disk is refused by one rule, with one message, and nothing is written.

    `deep` says that frames and table agree, so that only a look at the contents finds it; that
    the shallow check then passes is asserted as well.
    """

    def refused(data, rule, saying, *, error=DamagedError, policy=None, deep=False):
        path = tmp_path / "bundle.tar.zst"
        path.write_bytes(data)
        before = {one: one.stat().st_mtime_ns for one in tmp_path.rglob("*")}
        for check in (OpenBundle.check_frames, OpenBundle.check_contents):
            if deep and check is OpenBundle.check_frames:
                _run(path, check, policy or policy_of(alice))
                continue
            with writes, pytest.raises(error) as caught:
                _run(path, check, policy or policy_of(alice))
            assert type(caught.value) is error
            assert caught.value.rule == rule
            assert saying in caught.value.message
            assert caught.value.hint
            assert caught.value.exit_code == 3
            assert writes.seen == []
        assert {one: one.stat().st_mtime_ns for one in tmp_path.rglob("*")} == before

    return refused


def _run(path, check, policy):
    with volumes.opened(path) as source:
        check(verify.verify(source, policy, None, NOW).bundle)


@pytest.fixture(scope="session")
def head_of():
    """The head around any JSON value, in canonical form or as the bytes that were given."""

    def head_of(value):
        content = value if isinstance(value, bytes) else strict_json.compact(value)
        return frames.skippable((0x184D2A50).to_bytes(4, "little"), content.ljust(64 * 1024 - 8))

    return head_of


@pytest.fixture(scope="session")
def payload_type():
    return PAYLOAD_TYPE
