"""The laws that docstrings state: what is written is read back, and is written again the same."""

import string
from datetime import UTC, datetime

from hypothesis import assume, given
from hypothesis import strategies as st

from airgap import strict_json
from airgap.accepted import Accepted, Last
from airgap.envelope import Envelope, Signature
from airgap.errors import AirgapError
from airgap.frames import Slot, Table, compress, decompress
from airgap.limits import FRAME_PLAIN, FRAME_STORED, FRAMES, INTEGER, MANIFEST_SIZE, WINDOW
from airgap.manifest import (
    ROLES,
    Artifact,
    Check,
    Derived,
    Exemption,
    File,
    Manifest,
)
from airgap.paths import collisions, member_defect, path_defect
from airgap.statement import Base, Statement

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
numbers = st.integers(0, INTEGER)
times = st.datetimes(datetime(1980, 1, 1), datetime(2107, 12, 31)).map(  # noqa: DTZ001 - made aware at once
    lambda moment: strict_json.to_time(moment.replace(tzinfo=UTC))
)
sha256 = st.binary(min_size=32, max_size=32).map(bytes.hex)
sha1 = st.binary(min_size=20, max_size=20).map(bytes.hex)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bases = st.builds(Base, names, names, sha256)
parts = st.text(string.ascii_letters + string.digits + "._-äßéИ日", min_size=1, max_size=40)
member_paths = st.builds(
    lambda top, rest: "/".join([top, *rest]),
    st.sampled_from(["hf", "samples", "wheels", "nemo"]),
    st.lists(parts, min_size=1, max_size=8),
).filter(lambda path: member_defect(path) is None)


@given(
    st.binary(max_size=300),
    st.dictionaries(sha256, st.binary(max_size=120), max_size=8),
)
def test_envelope(statement, signatures):
    ordered = tuple(sorted(Signature(*one) for one in signatures.items()))
    envelope = Envelope(statement, ordered)
    head = envelope.to_head()
    assert len(head) == 65536
    assert Envelope.from_head(head) == envelope
    assert Envelope.from_head(head).to_head() == head


@given(st.binary(max_size=50), st.lists(st.tuples(sha256, st.binary(max_size=9)), max_size=12))
def test_signatures_in_any_order_make_one_envelope(statement, signatures):
    empty = Envelope(statement, ())
    ours = [Signature(*one) for one in dict(signatures).items()]
    at_once = empty.signed_also(ours)
    one_by_one = empty
    for signature in reversed(ours):
        one_by_one = one_by_one.signed_also([signature])
    assert at_once == one_by_one
    assert Envelope.from_head(at_once.to_head()) == at_once


@st.composite
def statements(draw):
    algorithm = draw(st.sampled_from(["sha256", "sha384"]))
    length = {"sha256": 32, "sha384": 48}[algorithm]
    digests = st.binary(min_size=length, max_size=length).map(bytes.hex)
    optional = draw(st.sets(st.sampled_from(["bootstrap.sh", "bootstrap/SHA256SUMS"])))
    subjects = {name: draw(digests) for name in {"manifest.json", "payload", "table"} | optional}
    return Statement(
        subjects=subjects,
        name=draw(names),
        version=draw(names),
        sequence=draw(numbers),
        created=draw(times),
        expires=draw(st.none() | times),
        base=draw(st.none() | bases),
        hash=algorithm,
        table_size=draw(numbers),
        manifest_size=draw(st.integers(2, MANIFEST_SIZE)),
        frames=draw(st.integers(2, FRAMES)),
        plain_total=draw(numbers),
    )


@given(statements())
def test_statement(statement):
    content = statement.to_bytes()
    assert Statement.parse(content) == statement
    assert Statement.parse(content).to_bytes() == content


@st.composite
def manifests(draw):
    paths = draw(st.lists(member_paths, min_size=1, max_size=6, unique=True))
    assume(not collisions(["manifest.json", *paths]))
    name, version = draw(names), draw(names)
    older = names.filter(lambda other: other != version)
    base = draw(st.none() | st.builds(Base, st.just(name), older, sha256))
    sizes = draw(st.dictionaries(sha256, numbers, min_size=1, max_size=6))
    ids = draw(st.lists(names, max_size=3, unique=True))
    owners = st.none() | st.sampled_from(ids) if ids else st.none()
    offsets = numbers if base is None else st.none() | numbers
    files = tuple(
        File(path, size, digest, draw(st.none() | sha1), draw(offsets), draw(owners))
        for path in paths
        for digest, size in [draw(st.sampled_from(sorted(sizes.items())))]
    )
    artifacts = tuple(
        Artifact(
            name,
            draw(st.sampled_from(ROLES)),
            draw(st.none() | names),
            draw(member_paths),
            draw(st.none() | texts),
            draw(st.none() | texts),
            draw(texts),
            draw(st.booleans()),
        )
        for name in ids
    )
    checks = st.none() | st.builds(
        Check, texts, st.lists(st.builds(Exemption, texts, texts), max_size=2).map(tuple)
    )
    made = st.builds(Derived, st.sampled_from(paths), texts, st.lists(texts, max_size=2).map(tuple))
    return Manifest(
        name=name,
        version=version,
        sequence=draw(numbers),
        created=draw(times),
        expires=draw(st.none() | times),
        base=base,
        profile=draw(names),
        profile_sha256=draw(sha256),
        lock_sha256=draw(sha256),
        built_with=draw(st.dictionaries(texts, texts, max_size=2)),
        platform=draw(names),
        features=draw(st.dictionaries(texts, st.booleans(), max_size=2)),
        artifacts=artifacts,
        files=files,
        derived=tuple(draw(st.lists(made, max_size=2))),
        built=tuple(draw(st.lists(st.sampled_from(paths), max_size=2))),
        scan=draw(checks),
        dry_load=draw(checks),
    )


@given(manifests())
def test_manifest(manifest):
    content = manifest.to_bytes()
    assert content.endswith(b"}\n")
    assert Manifest.parse(content) == manifest
    assert Manifest.parse(content).to_bytes() == content


@st.composite
def tables(draw):
    algorithm, length = draw(st.sampled_from([("sha256", 32), ("sha384", 48)]))
    digests = st.binary(min_size=length, max_size=length)
    stored = st.integers(1, FRAME_STORED)
    first = Slot(draw(st.integers(1, WINDOW + 4096)), draw(st.integers(1, WINDOW)), draw(digests))
    full = draw(st.lists(st.builds(Slot, stored, st.just(FRAME_PLAIN), digests), max_size=5))
    last = Slot(draw(stored), draw(st.integers(1, FRAME_PLAIN)), draw(digests))
    return Table(algorithm, (first, *full, last))


@given(tables())
def test_table(table):
    assert Table.parse(table.to_bytes(), table.hash, len(table.slots)) == table


@given(st.binary(min_size=1, max_size=5000), st.integers(1, 300))
def test_frame(piece, times):
    plain = piece * times
    stored = compress(plain)
    assert decompress(stored, len(plain), "frame") == plain
    assert len(stored) <= len(plain) + 4096


@given(
    st.dictionaries(names, st.builds(Last, numbers, sha256, times), max_size=4), st.none() | times
)
def test_accepted(bundles, newest):
    accepted = Accepted(bundles, newest)
    assert Accepted.parse(accepted.to_bytes(), "x") == accepted


@given(times)
def test_time(time):
    assert strict_json.is_time(time)
    assert strict_json.to_time(strict_json.from_time(time)) == time


@given(st.text(max_size=40))
def test_what_a_path_may_be_means_itself_alone(path):
    """No accepted path leaves its folder, hides something or has a second spelling."""
    if path_defect(path) is not None:
        return
    assert not path.startswith("/")
    assert set(path.split("/")).isdisjoint({"", ".", ".."})
    assert not set(path) & set("\\:\0\n\r\t")
    assert path.encode().decode() == path


@given(st.lists(member_paths, max_size=8))
def test_collisions_do_not_depend_on_order(paths):
    assert bool(collisions(paths)) == bool(collisions(reversed(paths)))


@given(st.lists(member_paths, max_size=8, unique=True))
def test_paths_without_collisions_are_files_of_one_tree(paths):
    """What collides nowhere can be laid out on a file system that ignores case."""
    if collisions(paths):
        return
    tree = {}
    for path in paths:
        *folders, name = path.casefold().split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
            assert isinstance(place, dict)
        assert name not in place
        place[name] = None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-INTEGER, INTEGER) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_json(value):
    """Both canonical forms are read back as they were."""
    assert strict_json.parse(strict_json.compact(value)) == value
    assert strict_json.parse(strict_json.readable(value)) == value


@given(st.text(max_size=60))
def test_times_and_names_are_ascii(text):
    for check in (strict_json.is_time, strict_json.is_name):
        assert not check(text) or text.isascii()


def test_every_error_says_what_comes_next():
    """Exit codes stand with the classes; a class without one would exit with 1 in silence."""
    codes = {kind.__name__: kind.exit_code for kind in _leaves(AirgapError)}
    refused = {"RefusedError", "DamagedError", "UntrustedError", "OutdatedError"}
    assert {name for name, code in codes.items() if code == 3} >= refused
    assert codes["UsageError"] == 2


def _leaves(kind):
    return [kind, *(inner for one in kind.__subclasses__() for inner in _leaves(one))]
