"""Bundles of released format versions, which must verify for ever, and the page about them.

A change that fails here breaks every bundle that was ever signed: it needs a new format version.
"""

import hashlib
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap import keys, limits, strict_json, verify, volumes
from airgap.errors import DamagedError
from airgap.manifest import ROLES, Artifact, File, Manifest
from airgap.paths import TOP_FILES, TOP_FOLDERS
from airgap.policy import policy_of_keys
from airgap.statement import SUBJECTS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/data/bundles"
PAGE = (ROOT / "docs/format.md").read_text()

PINNED = {"v1-minimal": "a0fcf92c8e0336cd313ec5d1c5eed05799277ec26b0e117e3af2bec770774adc"}
"""SHA-256 of each frozen bundle's statement."""


def public_keys(name):
    return [
        key
        for path in sorted(FOLDER.glob(f"{name}.*.pub"))
        for key in keys.load_public_keys(path.read_bytes(), str(path))
    ]


@pytest.fixture(params=PINNED)
def frozen(request):
    """A verified frozen bundle, open, with the digest that is pinned."""
    policy = policy_of_keys(public_keys(request.param), "the keys beside it")
    with volumes.opened(FOLDER / f"{request.param}.tar.zst") as source:
        yield verify.verify(source, policy, None, datetime.now(UTC)), PINNED[request.param]


def test_every_frozen_bundle_is_pinned():
    assert {path.name.removesuffix(".tar.zst") for path in FOLDER.glob("*.tar.zst")} == set(PINNED)


def test_it_verifies(frozen):
    found, digest = frozen
    found.bundle.check_frames()
    found.bundle.check_contents()
    assert found.approval_code.replace(" ", "") == digest
    assert found.verdict.signers == {"the key given": (keys.ECDSA_P384, keys.ED25519)}


def test_its_statement_and_manifest_are_written_again_the_same(frozen):
    found, _digest = frozen
    bundle = found.bundle
    assert bundle.statement.to_bytes() == bundle.envelope.statement
    content = bundle.manifest.to_bytes()
    assert hashlib.sha256(content).hexdigest() == bundle.statement.subjects["manifest.json"]


def test_one_flipped_bit_of_it_is_refused(tmp_path):
    data = bytearray((FOLDER / "v1-minimal.tar.zst").read_bytes())
    data[-1] ^= 1
    (tmp_path / "b").write_bytes(data)
    policy = policy_of_keys(public_keys("v1-minimal"), "the keys beside it")
    with volumes.opened(tmp_path / "b") as source:
        found = verify.verify(source, policy, None, datetime.now(UTC))
        with pytest.raises(DamagedError, match="frame 1"):
            found.bundle.check_frames()


def test_its_files(frozen):
    found, _digest = frozen
    files = {file.path: b"".join(pieces) for file, pieces in found.bundle.contents()}
    assert files == {
        "README.txt": b"Format version 1, test vector.\n",
        "hf/hub/models--example--tiny/refs/main": b"0123456789abcdef0123456789abcdef01234567",
        "samples/Grüße.txt": "Grüße\n".encode(),
    }


# --- the page --------------------------------------------------------------------------------


def test_the_page_shows_statement_table_and_files(frozen):
    found, digest = frozen
    bundle = found.bundle
    assert re.search(r"```json\n(.*)\n```", PAGE)[1].encode() == bundle.envelope.statement
    assert f"```text\n{digest}\n```" in PAGE
    shown = re.search(r"line of frame 1:\n\n```text\n(.*?)```", PAGE, re.DOTALL)[1]
    assert bytes.fromhex(shown) == bundle.table.to_bytes()
    for file in bundle.manifest.files:
        assert f"| `{file.path}` | {file.offset} | {file.size} | `{file.sha256}` |" in PAGE


def test_what_the_page_prints_is_what_comes(foreign):
    """Each command below a `$`, run in the folder of the vector."""
    for tool in ("tar", "zstd", "sha256sum", "openssl"):
        foreign(tool)
    [block] = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    assert len(commands) == 6
    for command, shown in commands:
        found = subprocess.run(
            ["sh", "-c", command], cwd=FOLDER, capture_output=True, text=True, check=True
        )
        assert found.stdout == shown, command


def grouped(number):
    return f"{number:,}".replace(",", " ")


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("head", limits.HEAD_SLOT),
        ("signatures", limits.SIGNATURES),
        ("manifest", limits.MANIFEST_SIZE),
        ("frames", limits.FRAMES),
        ("plain bytes of a payload frame", limits.FRAME_PLAIN),
        ("stored bytes of a payload frame", limits.FRAME_STORED),
        ("plain bytes of frame 0", limits.WINDOW),
        ("stored bytes of frame 0", limits.WINDOW + limits.FRAME_STORED - limits.FRAME_PLAIN),
        ("window of a frame", limits.WINDOW),
        ("files", limits.FILES),
        ("integers in JSON", limits.INTEGER),
    ],
)
def test_the_page_names_every_limit(what, limit):
    assert re.search(rf"^\| {what} \| {grouped(limit)}\b", PAGE, re.MULTILINE)


def section(title):
    return re.search(rf"^## {title}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]


def test_the_page_names_every_key_and_no_other(frozen):
    found, _digest = frozen
    named = set(re.findall(r"`([a-z_0-9]+)`", section("Manifest")))
    for key in {"format", *Manifest.__dataclass_fields__}:
        assert key in named
    for one in (Artifact, File):
        assert set(one.__dataclass_fields__) <= named
    assert set(ROLES) <= set(re.findall(r"`([a-z-]+)`", section("Manifest")))
    predicate = json.loads(found.bundle.envelope.statement)["predicate"]
    assert set(predicate) <= set(re.findall(r"`([a-z_]+)`", section("Statement")))
    assert set(re.findall(r"`([A-Za-z0-9./]+)`", section("Statement"))) >= SUBJECTS


def test_the_page_names_every_root():
    named = set(re.findall(r"`([A-Za-z0-9.]+)`", section("Paths")))
    assert named >= TOP_FOLDERS | TOP_FILES


def test_the_page_names_every_rule():
    """Every rule that reading a bundle can refuse by, and none that no code has."""
    told = set(re.findall(r"`([a-z]+\.[a-z-]+)`|`(expiry)`", section("Rules that refuse")))
    named = {first or second for first, second in told}
    modules = (
        "archive",
        "envelope",
        "frames",
        "manifest",
        "statement",
        "policy",
        "accepted",
        "volumes",
        "volume_names",
        "base",
        "damage",
    )
    raised = set()
    for module in modules:
        code = (ROOT / "airgap" / f"{module}.py").read_text()
        raised |= set(re.findall(r'rule="([a-z.-]+)"', code))
    local = {rule for rule in raised if rule.startswith("state.")}
    assert raised - local == named


def test_strict_json_has_the_forms_that_the_page_describes():
    value = {"b": [], "a": {"é": 1}, "c": [1, {}]}
    assert strict_json.compact(value) == b'{"a":{"\\u00e9":1},"b":[],"c":[1,{}]}'
    readable = '{\n  "a": {\n    "é": 1\n  },\n  "b": [],\n  "c": [\n    1,\n    {}\n  ]\n}\n'
    assert strict_json.readable(value) == readable.encode()
