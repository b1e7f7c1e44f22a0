"""What is written: the same bytes every time, exactly the bytes of the files, or nothing at all."""

import hashlib
import io
import subprocess
import threading

import pytest

from airgap import frames, limits, pack, parallel, signing, strict_json
from airgap.archive import read_head
from airgap.envelope import Envelope
from airgap.errors import AirgapError, UsageError
from airgap.limits import FRAME_PLAIN
from airgap.manifest import Manifest


def noise(size):
    """So many bytes that do not shrink."""
    return hashlib.shake_256(b"noise").digest(size)


def written(recipe, algorithm="sha256", contents=None, advance=None):
    """The bundle that `airgap.pack` makes of a recipe's files."""
    manifest = Manifest.parse(strict_json.readable(recipe.manifest))
    there = recipe.contents if contents is None else contents
    stream = io.BytesIO()
    told = {} if advance is None else {"advance": advance}
    statement = pack.write_bundle(
        stream, manifest, lambda file: io.BytesIO(there[file.path]), algorithm, **told
    )
    return stream.getvalue(), statement


@pytest.mark.parametrize("algorithm", ["sha256", "sha384"])
def test_it_writes_what_the_independent_builder_builds(recipe, large_recipe, algorithm):
    """The recipe lays a bundle out with its own code: both agree on every byte."""
    for made in (recipe, large_recipe):
        data, statement = written(made, algorithm)
        assert data == made.but(algorithm=algorithm).build()
        assert Envelope.from_head(data[: limits.HEAD_SLOT]).statement == statement.to_bytes()


def test_the_same_manifest_gives_the_same_bytes(large_recipe):
    assert written(large_recipe)[0] == written(large_recipe)[0]


def test_the_number_of_cores_changes_nothing(large_recipe, monkeypatch):
    once = written(large_recipe)[0]
    for count in (1, 7):
        monkeypatch.setattr(parallel, "workers", lambda count=count: count)
        assert written(large_recipe)[0] == once


def test_it_ends_unsigned(recipe, memory):
    data, _statement = written(recipe)
    assert read_head(memory(data)).signatures == ()


@pytest.mark.parametrize(
    "full", [count * FRAME_PLAIN + by for count in (1, 2) for by in (-1, 0, 1, 511, 512, 513)]
)
def test_payloads_around_the_border_of_a_frame(recipe_of, alice, verified, full, trusting_alice):
    """The payload is 512 of header, the file, its padding and 1024 of end."""
    size = full - 512 - 1024
    made = recipe_of({"README.txt": noise(size)})
    data, statement = written(made)
    payload = 512 + size + -size % 512 + 1024
    assert statement.frames == 1 + -(-payload // FRAME_PLAIN)
    assert data == made.build()
    found = verified(made.build(alice), trusting_alice).bundle
    assert {file.path: b"".join(pieces) for file, pieces in found.contents()} == made.contents
    assert found.table.slots[-1].plain == (payload - 1) % FRAME_PLAIN + 1


def test_many_small_files_in_one_frame(recipe_of, alice, verified, trusting_alice):
    contents = {f"hf/{number:04}/é": b"%d" % number for number in range(300)}
    contents |= {f"hf/{number:04}/empty": b"" for number in range(300)}
    data = recipe_of(contents).build(alice)
    found = verified(data, trusting_alice).bundle
    assert {file.path: b"".join(pieces) for file, pieces in found.contents()} == contents


def test_what_does_not_shrink_hardly_grows(large_recipe):
    """Above 1 GB no bundle is 0.1 % larger than its files: frames add 3 bytes for 128 KiB."""
    size = 2 * FRAME_PLAIN
    stored = frames.compress(noise(FRAME_PLAIN))
    assert len(stored) <= FRAME_PLAIN + 3 * 32 + 18
    data, statement = written(large_recipe)
    per_frame = 40 * statement.frames
    assert len(data) - limits.HEAD_SLOT - per_frame < size * 1.001 + 110_000


SMALL = 128 * limits.KIB
"""Of a frame of this size or less, the whole is tried, not samples of it."""


@pytest.mark.parametrize("size", [SMALL + 1, 2 * SMALL, 2 * SMALL + 1, FRAME_PLAIN - 1])
def test_a_frame_that_would_not_shrink_by_an_eighth_is_stored(size, foreign):
    plain = noise(size)
    stored = frames.compress(plain)
    assert len(stored) == size + 9 + 3 * -(-size // SMALL)
    assert frames.decompress(stored, size, "a frame") == plain
    read = subprocess.run([foreign("zstd"), "-dqc"], input=stored, capture_output=True, check=True)
    assert read.stdout == plain


def test_a_frame_that_shrinks_by_an_eighth_is_compressed():
    plain = bytearray(noise(FRAME_PLAIN))
    plain[::4] = bytes(FRAME_PLAIN // 4)
    assert len(frames.compress(plain)) < 7 / 8 * FRAME_PLAIN


@pytest.mark.parametrize("eighths", [0, 2, 4, 6])
def test_samples_come_from_all_over_a_frame(eighths):
    """A header that shrinks, before weights that do not, does not decide for them."""
    at = eighths * FRAME_PLAIN // 8
    plain = bytearray(noise(FRAME_PLAIN))
    plain[at : at + 2 * limits.KIB] = bytes(2 * limits.KIB)
    assert len(frames.compress(plain)) > FRAME_PLAIN


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        (lambda content: content + b"x", "has more bytes than the 8488608 that the lock names"),
        (lambda content: content[:-1], "has fewer bytes than the 8488608 that the lock names"),
        (lambda content: b"", "has fewer bytes"),
        (lambda content: content[:FRAME_PLAIN], "has fewer bytes"),
    ],
)
def test_a_file_of_another_size(large_recipe, change, saying):
    path = next(path for path in large_recipe.contents if path.endswith("model.bin"))
    contents = {**large_recipe.contents, path: change(large_recipe.contents[path])}
    with pytest.raises(AirgapError) as caught:
        written(large_recipe, contents=contents)
    assert f"'{path}' {saying}" in caught.value.message
    assert "airgap fetch" in caught.value.hint
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("bound", "saying"),
    [
        ("MANIFEST_SIZE", "bytes of manifest.json, and the format allows 1"),
        ("FILES", "the bundle would have 3 files, and the format allows 1"),
        ("FRAMES", "the bundle would have 4 frames, and the format allows 1"),
    ],
)
def test_what_a_reader_would_refuse_is_not_written(large_recipe, monkeypatch, bound, saying):
    manifest = Manifest.parse(strict_json.readable(large_recipe.manifest))
    monkeypatch.setattr(limits, bound, 1)
    stream = io.BytesIO()
    with pytest.raises(UsageError) as caught:
        pack.write_bundle(stream, manifest, lambda _file: io.BytesIO(b""), "sha256")
    assert saying in caught.value.message
    assert stream.getvalue() == b""


def test_progress_counts_every_plain_byte(large_recipe):
    done = []
    _data, statement = written(large_recipe, advance=done.append)
    assert sum(done) == statement.plain_total


def test_a_new_head_changes_nothing_behind_it(tmp_path, bundle, bob):
    path = tmp_path / "b"
    path.write_bytes(bundle)
    envelope = signing.sign(Envelope.from_head(bundle[: limits.HEAD_SLOT]), bob.keys)
    with path.open("r+b") as stream:
        pack.write_head(stream, envelope)
    found = path.read_bytes()
    assert found[limits.HEAD_SLOT :] == bundle[limits.HEAD_SLOT :]
    assert Envelope.from_head(found[: limits.HEAD_SLOT]) == envelope


def test_results_come_in_the_order_of_tasks():
    """Each task waits for the next one to have run: only with two in flight does it end."""
    turns = [threading.Event() for _ in range(11)]
    turns[10].set()

    def task(number):
        if number % 2 == 0:
            assert turns[number + 1].wait(30)
        turns[number].set()
        return number

    if parallel.workers() < 2:
        pytest.skip("one core runs one task at a time")
    tasks = [lambda number=number: task(number) for number in range(10)]
    assert list(parallel.in_order(tasks)) == list(range(10))


def test_the_first_error_ends_the_work():
    ran = []

    def task(number):
        ran.append(number)
        if number == 3:
            raise AirgapError("three")
        return number

    tasks = (lambda number=number: task(number) for number in range(1000))
    found = []
    with pytest.raises(AirgapError, match="three"):
        found.extend(parallel.in_order(tasks))
    assert found == [0, 1, 2]
    assert max(ran) < 3 + 4 * parallel.workers()


def test_a_slow_consumer_bounds_what_is_in_flight():
    started = []
    tasks = (lambda number=number: started.append(number) or number for number in range(1000))
    results = parallel.in_order(tasks)
    for taken in range(50):
        next(results)
        assert len(started) <= taken + 1 + 2 * parallel.workers()
    results.close()
    assert len(started) <= 50 + 2 * parallel.workers()
