"""Programs that a bundle brings: wheels and carried Pythons that are not as they should be."""

from __future__ import annotations

import io
import struct
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bundler.scan.elf import ElfError, read_elf
from bundler.scan.findings import Judged, Severity
from bundler.scan.interpreters import judge_interpreter
from bundler.scan.wheels import judge_wheel

X86 = "cp312-cp312-manylinux_2_28_x86_64"


def elf(*needed: str, machine: int = 62) -> bytes:
    """A library that is linked to others: header, segments, names, dynamic section."""
    names = b"\0" + b"".join(one.encode() + b"\0" for one in needed)
    names += bytes(-len(names) % 8)
    at = 64 + 2 * 56
    offsets, position = [], 1
    for one in needed:
        offsets.append(position)
        position += len(one) + 1
    entries = [(1, offset) for offset in offsets] + [(5, at), (10, len(names)), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *one) for one in entries)
    size = at + len(names) + len(dynamic)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\2\1\1",
        *(3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0),
    )
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    start = at + len(names)
    table = struct.pack("<IIQQQQQQ", 2, 4, start, start, start, len(dynamic), len(dynamic), 8)
    return header + load + table + names + dynamic


def judged(named: tuple[str, bytes], device: str = "cpu") -> Judged:
    name, content = named
    return judge_wheel(io.BytesIO(content), f"wheels/{name}", device)


def rules(found: Judged, severity: Severity = Severity.DANGER) -> set[str]:
    return {one.rule for one in found.findings if one.severity == severity}


def test_a_plain_wheel_is_clean_and_its_commands_are_listed(kit: Any) -> None:
    files = {
        "a/__init__.py": b"",
        "a-1.0.dist-info/entry_points.txt": b"[console_scripts]\nA-tool = a:main\n[x]\ny = z\n",
        "a-1.0.data/scripts/other": b"#!python\n",
        "a/lib.so": elf("libc.so.6"),
    }
    found = judged(kit.installable("a==1.0", tag=X86, files=files))
    assert found.findings == ()
    assert found.commands == ("A-tool", "other")
    assert found.native == 1


def test_what_a_wheel_has_vendored_is_not_its_own_paper(kit: Any) -> None:
    vendored = "a/_vendor/b-2.0.dist-info"
    scripts = b"[console_scripts]\nb = b:main\n"
    files = {f"{vendored}/METADATA": b"", f"{vendored}/entry_points.txt": scripts}
    found = judged(kit.installable("a==1.0", files=files))
    assert (found.findings, found.commands) == ((), ())


@pytest.mark.parametrize(
    ("locked", "rules_found"), [("MIT", set()), ("GPL-3.0", {"wheel.licence"})]
)
def test_a_licence_is_compared_with_the_locked_one(
    kit: Any, locked: str, rules_found: set[str]
) -> None:
    name, content = kit.installable("a==1.0", License_Expression="MIT")
    found = judge_wheel(io.BytesIO(content), f"wheels/{name}", "cpu", locked)
    assert rules(found, Severity.CAUTION) == rules_found


@pytest.mark.parametrize(
    ("path", "content", "rule"),
    [
        ("a.pth", b"import os\n", "wheel.startup"),
        ("a.pth", b"/some/where\nimport\tos\n", "wheel.startup"),
        ("a-1.0.data/purelib/a.pth", b"import os\n", "wheel.startup"),
        ("sitecustomize.py", b"", "wheel.startup"),
        ("airgap/cli.py", b"", "wheel.place"),
        ("a-1.0.data/platlib/runtime/x.py", b"", "wheel.place"),
        ("a-1.0.data/data/bin/python3", b"", "wheel.place"),
        ("a-1.0.data/home/x", b"", "wheel.place"),
        ("../x", b"", "zip.broken"),
        ("/etc/x", b"", "zip.broken"),
        ("lib.so", elf("libcudart.so.13"), "wheel.cuda"),
        ("lib.so", elf("libc.so.6", "libtorch_cuda.so"), "wheel.cuda"),
        ("lib.so", elf("libc.so.6", machine=183), "wheel.machine"),
        ("b-1.0.dist-info/METADATA", b"", "wheel.broken"),
    ],
)
def test_what_a_wheel_must_not_have(kit: Any, path: str, content: bytes, rule: str) -> None:
    found = judged(kit.installable("a==1.0", tag=X86, files={"a/x.py": b"", path: content}))
    assert rules(found) == {rule}


def test_a_path_file_that_names_paths_runs_nothing(kit: Any) -> None:
    files = {"a/x.py": b"", "a.pth": b"a/more\n", "a/sub/x.pth": b"import os\n"}
    assert judged(kit.installable("a==1.0", files=files)).findings == ()


def test_cuda_is_no_trap_on_a_gpu_nor_where_it_is_brought_along(kit: Any) -> None:
    files = {"a/lib.so": elf("libcudart-1a2b.so.12")}
    assert rules(judged(kit.installable("a==1.0", tag=X86, files=files))) == {"wheel.cuda"}
    assert judged(kit.installable("a==1.0", tag=X86, files=files), "gpu").findings == ()
    files["a.libs/libcudart-1a2b.so.12"] = elf("libc.so.6")
    assert judged(kit.installable("a==1.0", tag=X86, files=files)).findings == ()


def test_a_native_part_in_a_wheel_for_any_machine_is_told(kit: Any) -> None:
    found = judged(kit.installable("a==1.0", files={"a/lib.so": elf("libc.so.6")}))
    assert rules(found, Severity.CAUTION) == {"wheel.native"}


def altered(named: tuple[str, bytes], change: Any) -> tuple[str, bytes]:
    """The wheel with other members; its RECORD stays."""
    with zipfile.ZipFile(io.BytesIO(named[1])) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in members.items():
            archive.writestr(path, content)
    return named[0], buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update({"a/__init__.py": b"import os"}), "it is not what RECORD says"),
        (lambda m: m.update({"a/more.py": b""}), "RECORD does not list it"),
        (lambda m: m.pop("a/__init__.py"), "its RECORD lists 'a/__init__.py', which is gone"),
        (
            lambda m: m.pop("a-1.0.dist-info/RECORD"),
            "it has not one .dist-info with METADATA, WHEEL and RECORD",
        ),
        (
            lambda m: m.update({"a-1.0.dist-info/METADATA": b"Name: b\nVersion: 1.0\n"}),
            "its name says a==1.0, and its METADATA b==1.0",
        ),
    ],
)
def test_a_wheel_that_is_not_what_it_lists(kit: Any, change: Any, said: str) -> None:
    found = judged(altered(kit.installable("a==1.0"), change))
    assert said in {one.reason for one in found.findings}
    assert rules(found)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 and no more", b"\x7fELF"])
def test_what_is_no_wheel(content: bytes) -> None:
    assert rules(judged(("a-1.0-py3-none-any.whl", content))) == {"wheel.broken"}
    assert rules(judged(("a.whl", content))) == {"wheel.name"}


def test_elf_is_read_as_it_is() -> None:
    assert read_elf(io.BytesIO(elf("libm.so.6", "libc.so.6"))).needed == ("libm.so.6", "libc.so.6")
    own = read_elf(io.BytesIO(Path(sys.executable).resolve().read_bytes()))
    assert any(one.startswith("libc.so") for one in own.needed)


@pytest.mark.parametrize("cut", range(0, 300, 7))
def test_an_elf_file_cut_anywhere_is_refused_or_read(cut: int) -> None:
    whole = elf("libc.so.6", "libcudart.so.13")
    if cut < len(whole):
        with pytest.raises(ElfError):
            read_elf(io.BytesIO(whole[:cut]))


def test_the_verb_judges_wheels_as_programs(place: Any, kit: Any) -> None:
    files = {"a/x.py": b"", "a.pth": b"import os\n"}
    name, content = kit.installable("a==1.0", files=files)
    (place.folder / name).write_bytes(content)
    done = place.airgap("scan", name)
    assert done.code == 3
    assert "[wheel.startup]" in done.out


# --- carried Pythons ----------------------------------------------------------------------------


def python(*members: tuple[str, Any], mode: int = 0o755) -> Judged:
    """Judge an archive of `python/bin/python3` and these: bytes, or a kind and where it leads."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in (("python/bin/python3", elf("libc.so.6")), *members):
            entry = tarfile.TarInfo(name)
            entry.mode = mode
            if isinstance(content, bytes):
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.linkname = content
                tar.addfile(entry)
    buffer.seek(0)
    return judge_interpreter(buffer, "wheels/python/cp312-manylinux_2_28_x86_64.tar.gz")


def test_a_plain_python_is_clean() -> None:
    found = python(
        ("python/lib/libpython.so", elf("libc.so.6")),
        ("python/bin/python", (tarfile.SYMTYPE, "python3")),
        ("python/share/man", (tarfile.SYMTYPE, "../lib")),
    )
    assert found.findings == ()


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ([("etc/passwd", b"")], "python.traversal"),
        ([("python/../../x", b"")], "python.traversal"),
        ([("/python/x", b"")], "python.traversal"),
        ([("python/x", (tarfile.SYMTYPE, "/etc/passwd"))], "python.link"),
        ([("python/x", (tarfile.SYMTYPE, "../../x"))], "python.link"),
        ([("python/x", (tarfile.LNKTYPE, "etc/passwd"))], "python.link"),
        ([("python/b", (tarfile.SYMTYPE, ".")), ("python/a", (tarfile.SYMTYPE, "b/../x"))],
         "python.link"),
        ([("python/b", (tarfile.SYMTYPE, "lib")), ("python/b/x", b"")], "python.traversal"),
        ([("python/x", (tarfile.FIFOTYPE, ""))], "python.device"),
        ([("python/bin/python3", b"")], "python.twice"),
    ],
)  # fmt: skip
def test_what_an_archive_must_not_have(members: Any, rule: str) -> None:
    assert rule in rules(python(*members))


def test_a_mode_that_gives_rights() -> None:
    assert rules(python(mode=0o4755)) == {"python.mode"}


def test_a_python_for_another_machine() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("python/bin/python3")
        entry.size = len(elf())
        tar.addfile(entry, io.BytesIO(elf()))
    buffer.seek(0)
    found = judge_interpreter(buffer, "wheels/python/cp312-manylinux_2_28_aarch64.tar.gz")
    assert rules(found) == {"python.machine"}


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no archive"])
def test_what_is_no_archive(content: bytes) -> None:
    assert rules(judge_interpreter(io.BytesIO(content), "x_x86_64.tar.gz")) == {"python.broken"}
