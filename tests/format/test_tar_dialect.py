"""The tar is a function of the manifest, and GNU tar and Python's tarfile read what we mean."""

import io
import subprocess
import tarfile
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap import tar
from airgap.manifest import File

CREATED = "2026-01-02T03:04:05Z"
MOMENT = int(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp())

PATHS = {
    "short": "README.txt",
    "100 bytes": "hf/" + "x" * 97,
    "101 bytes, split": "hf/" + "x" * 98,
    "155 and 100 bytes": "hf/" + "/".join(["y" * 75] * 2) + "y/" + "x" * 100,
    "a last part of 101 bytes": "hf/" + "x" * 101,
    "a first part of 156 bytes": "y" * 156 + "/x",
    "two parts of 155": "hf/" + "y" * 155 + "/" + "x" * 155,
    "255 bytes in one part": "hf/" + "z" * 255,
    "512 bytes": "hf/" + "/".join(["x" * 101] * 5),
    "not ASCII": "samples/Grüße.txt",
    "not ASCII and long": "samples/" + "é" * 120,
    "beyond the first plane": "samples/𝄞.mid",
    "with a space": "samples/two words.txt",
    "with an equals sign": "samples/a=b",
    "a record of 99 bytes": "hf/é" + "x" * 84,
    "a record of 100 bytes": "hf/é" + "x" * 85,
    "a record of 101 bytes": "hf/é" + "x" * 86,
}


def archive(*files):
    """A whole tar of these paths and contents."""
    pieces = []
    for path, content in files:
        pieces += [tar.header(path, len(content), CREATED), content, tar.padding(len(content))]
    return b"".join([*pieces, tar.END])


def listed(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return opened.getmembers()


@pytest.mark.parametrize("path", PATHS.values(), ids=list(PATHS))
def test_tarfile_reads_every_field(path):
    [member] = listed(archive((path, b"content")))
    assert member.name == path
    assert member.size == 7
    assert member.isreg()
    assert (member.mode, member.uid, member.gid, member.mtime) == (0o644, 0, 0, MOMENT)
    assert (member.uname, member.gname, member.linkname) == ("", "", "")


def test_gnu_tar_lists_the_same(foreign):
    files = [(path, b"x" * number) for number, path in enumerate(PATHS.values())]
    found = subprocess.run(
        [
            foreign("tar"),
            "-tvf",
            "-",
            "--numeric-owner",
            "--utc",
            "--full-time",
            "--quoting-style=literal",
        ],
        input=archive(*files),
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert found.stderr == b""
    lines = [line.split(None, 5) for line in found.stdout.decode().splitlines()]
    assert lines == [
        ["-rw-r--r--", "0/0", str(len(content)), "2026-01-02", "03:04:05", path]
        for path, content in files
    ]


@pytest.mark.parametrize(
    ("path", "blocks"),
    [
        (PATHS["100 bytes"], 1),
        (PATHS["101 bytes, split"], 1),
        (PATHS["155 and 100 bytes"], 1),
        (PATHS["a last part of 101 bytes"], 3),
        (PATHS["a first part of 156 bytes"], 3),
        (PATHS["not ASCII"], 3),
        (PATHS["512 bytes"], 4),
    ],
)
def test_a_pax_record_only_where_the_path_does_not_fit(path, blocks):
    assert len(tar.header(path, 1, CREATED)) == blocks * 512


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 31) - 1, 1 << 32, (8 << 30) - 1])
def test_sizes_that_fit_the_header(size):
    block = tar.header("hf/x", size, CREATED)
    assert len(block) == 512
    assert tarfile.TarInfo.frombuf(block, "utf-8", "strict").size == size


@pytest.mark.parametrize("size", [8 << 30, (8 << 30) + 1, 1 << 40, 1 << 53])
def test_sizes_beyond_eight_gibibytes_take_a_record(size):
    """The header's eleven octal digits end there; GNU's binary form is not in the dialect."""
    start = tar.header("hf/x", size, CREATED)
    assert len(start) == 3 * 512
    length = int(start[512:].split(b" ")[0])
    assert start[512 : 512 + length] == b"%d size=%d\n" % (length, size)
    with tarfile.open(fileobj=io.BytesIO(start + bytes(512))) as opened:
        assert opened.next().size == size


def test_path_and_size_in_one_record():
    start = tar.header(PATHS["255 bytes in one part"], 9 << 30, CREATED)
    with tarfile.open(fileobj=io.BytesIO(start + bytes(512))) as opened:
        member = opened.next()
    assert (member.name, member.size) == (PATHS["255 bytes in one part"], 9 << 30)


def test_a_header_of_ustar_is_the_one_that_tarfile_writes():
    """But for the device numbers, which tarfile leaves empty and POSIX wants as zeros."""
    info = tarfile.TarInfo("hf/refs/main")
    info.size, info.mtime = 40, MOMENT
    theirs = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    theirs[329:345] = b"0000000\0" * 2
    theirs[148:156] = b" " * 8
    theirs[148:156] = b"%06o\0 " % sum(theirs)
    assert tar.header("hf/refs/main", 40, CREATED) == bytes(theirs)


@given(st.binary(max_size=2000))
def test_padding_fills_the_block(content):
    assert (len(content) + len(tar.padding(len(content)))) % 512 == 0
    assert len(tar.padding(len(content))) < 512
    assert not any(tar.padding(len(content)))


@given(
    st.lists(st.tuples(st.sampled_from(list(PATHS.values())), st.binary(max_size=1500)), max_size=6)
)
def test_members_lie_where_they_are_said_to(files):
    """Against a real archive: every offset finds its bytes, and the size is the archive's."""
    whole = archive(*files)
    inventory = [File(path, len(content), "", None, 0, None) for path, content in files]
    assert tar.payload_size(inventory, CREATED) == len(whole)
    laid_out = [file for _header, file in tar.members(inventory, CREATED)]
    assert [whole[file.offset : file.offset + file.size] for file in laid_out] == [
        content for _path, content in files
    ]
    assert [member.offset_data for member in listed(whole)] == [file.offset for file in laid_out]


def test_the_manifest_comes_first():
    member = tar.manifest_member(b"{}\n", CREATED)
    assert len(member) == 1024
    assert [(one.name, one.size) for one in listed(member + tar.END)] == [("manifest.json", 3)]


@pytest.mark.parametrize("created", ["1980-01-01T00:00:00Z", "2107-12-31T23:59:59Z"])
def test_every_time_that_a_bundle_may_have_fits(created):
    block = tar.header("hf/x", 1, created)
    moment = datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    assert tarfile.TarInfo.frombuf(block, "utf-8", "strict").mtime == moment
