"""Manifests that an insider signed: words other than the statement's, the tar's, the schema's."""

import copy
import json

import pytest

from airgap import limits, strict_json, tar
from airgap.errors import DamagedError
from airgap.manifest import Manifest

FULL = {"name": "demo", "version": "0.9", "manifest": "0" * 64}


@pytest.fixture
def form(recipe, alice, refused):
    """A manifest that was edited as JSON before all digests were made is refused for the form.

    The payload stays the sound one, so that nothing but the words is wrong.
    """

    def form(edit, saying):
        value = copy.deepcopy(recipe.manifest)
        edit(value)
        wrong = recipe.but(payload=recipe.tape()).but(manifest_bytes=strict_json.readable(value))
        refused(wrong.build(alice), "manifest.form", saying)

    return form


@pytest.fixture
def bytes_form(recipe, alice, refused):
    """The same for an edit of the manifest's bytes."""

    def bytes_form(edit, saying):
        content = edit(strict_json.readable(recipe.manifest))
        refused(recipe.but(manifest_bytes=content).build(alice), "manifest.form", saying)

    return bytes_form


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "other"),
        ("version", "1.0.1"),
        ("sequence", 8),
        ("created", "2026-01-02T03:04:06Z"),
        ("expires", "2027-01-01T00:00:01Z"),
        ("expires", None),
        ("base", FULL),
    ],
)
def test_the_predicate_says_other_than_the_manifest(recipe, alice, refused, key, value):
    """The policy has read the predicate; what is mounted is the manifest. Field by field."""

    def edit(statement):
        return statement | {"predicate": statement["predicate"] | {key: value}}

    saying = "the tar around it" if key == "created" else f"{key}: the statement says "
    refused(recipe.but(statement=edit).build(alice), "archive.digest", saying)


def test_the_manifest_says_another_time_than_its_own_tar(recipe, alice, refused):
    """The statement's time agrees with the tar around the manifest, the manifest's does not."""
    value = dict(recipe.manifest) | {"created": "2026-01-02T03:04:06Z"}
    content = strict_json.readable(value)
    wrong = recipe.but(
        manifest_bytes=content, first=tar.manifest_member(content, recipe.manifest["created"])
    )
    refused(
        wrong.build(alice), "archive.digest", "created: the statement says '2026-01-02T03:04:05Z'"
    )


@pytest.mark.parametrize("by", [1, -1, 512, -512, 1 << 40])
@pytest.mark.parametrize("index", [0, 2, 5])
def test_an_offset_elsewhere(recipe, alice, refused, index, by):
    """Overlaps, gaps and ranges beyond the payload: the tar alone says where a file lies."""
    offset = recipe.manifest["files"][index]["offset"] + by
    if offset < 0:
        pytest.skip("no integer of ours is negative")
    path = recipe.manifest["files"][index]["path"]
    wrong = recipe.but_file(index, offset=offset).build(alice)
    refused(
        wrong, "archive.digest", f"'{path}' is said to start at byte {offset}, and its tar puts"
    )


def test_two_files_with_one_range(recipe, alice, refused):
    wrong = recipe.but_file(3, offset=recipe.manifest["files"][2]["offset"])
    refused(wrong.build(alice), "archive.digest", "empty.bin' is said to start at byte")


@pytest.mark.parametrize("size", [0, 1, 21, 511, 1 << 30, 1 << 53])
def test_another_size(recipe, alice, refused, size):
    """All that follows would lie elsewhere; where nothing does, the digest or the total tells."""
    wrong = recipe.but_file(0, size=size).build(alice)
    if size in {1, 21, 511}:  # as many blocks as before: the header tells
        refused(wrong, "archive.digest", "the tar header of 'README.txt'", deep=True)
    else:
        refused(wrong, "archive.digest", "is said to start at byte")


def test_a_size_of_the_last_file(recipe, alice, refused):
    last = recipe.manifest["files"][-1]
    wrong = recipe.but_file(len(recipe.manifest["files"]) - 1, size=last["size"] + 512)
    refused(wrong.build(alice), "archive.digest", "its files make a payload of")


def test_files_in_another_order(recipe, alice, refused):
    files = list(reversed(recipe.manifest["files"]))
    wrong = recipe.but(payload=recipe.tape()).but_manifest(files=files)
    refused(wrong.build(alice), "archive.digest", "is said to start at byte")


def test_a_file_that_the_tar_does_not_have(recipe, alice, refused):
    ghost = dict(recipe.manifest["files"][0]) | {"path": "scan.json"}
    files = [*recipe.manifest["files"], ghost]
    wrong = recipe.but(payload=recipe.tape()).but_manifest(files=files)
    refused(wrong.build(alice), "archive.digest", "'scan.json' is said to start at byte")


def test_a_member_of_the_tar_that_the_manifest_does_not_have(recipe, alice, refused):
    files = recipe.manifest["files"][:-1]
    wrong = recipe.but(payload=recipe.tape()).but_manifest(files=files)
    refused(wrong.build(alice), "archive.digest", "its files make a payload of")


def test_a_file_without_an_offset_in_a_full_bundle(form):
    form(
        lambda value: value["files"][1].update(offset=None),
        "'hf/hub/models--org--name/refs/main' has no offset, and the bundle has no base",
    )


def test_another_digest_of_a_file(recipe, alice, refused):
    """The frames are as signed; only the file's own digest is wrong."""
    wrong = recipe.but_file(2, sha256="0" * 64).build(alice)
    refused(wrong, "file.digest", "the manifest that was signed says 0000", deep=True)


def test_another_digest_of_an_empty_file(recipe, alice, refused):
    wrong = recipe.but_file(3, sha256="0" * 64).build(alice)
    refused(wrong, "file.digest", "empty.bin' has the SHA-256 e3b0c44298fc1c14", deep=True)


def edited_tape(recipe, position, content):
    tape = recipe.tape()
    return tape[:position] + content + tape[position + len(content) :]


@pytest.mark.parametrize(
    ("at", "content"),
    [
        pytest.param(0, b"r", id="name"),
        pytest.param(100, b"0000755", id="mode"),
        pytest.param(100, b"0004755", id="setuid"),
        pytest.param(108, b"0001750", id="owner"),
        pytest.param(116, b"0001750", id="group"),
        pytest.param(124, b"00000000025", id="size"),
        pytest.param(136, b"00000000000", id="time"),
        pytest.param(148, b"7", id="checksum"),
        pytest.param(156, b"2", id="link"),
        pytest.param(156, b"5", id="folder"),
        pytest.param(156, b"3", id="device"),
        pytest.param(157, b"/etc/passwd", id="link name"),
        pytest.param(257, b"ustar  ", id="magic"),
        pytest.param(265, b"root", id="owner name"),
        pytest.param(345, b"hf", id="prefix"),
        pytest.param(511, b"x", id="last byte"),
    ],
)
def test_a_header_that_says_other_than_the_manifest(recipe, alice, refused, at, content):
    """What `tar` would show or do differs from what we mount: a reader differential."""
    wrong = recipe.but(payload=edited_tape(recipe, at, content)).build(alice)
    refused(wrong, "archive.digest", "the tar header of 'README.txt' is not what", deep=True)


def test_a_header_of_a_later_file(recipe, alice, refused):
    file = recipe.manifest["files"][4]
    wrong = recipe.but(payload=edited_tape(recipe, file["offset"] - 512, b"x")).build(alice)
    refused(wrong, "archive.digest", f"the tar header of '{file['path']}'", deep=True)


def test_a_pax_record_that_names_another_file(recipe, alice, refused):
    """The record wins over the header for every tar: here it would name a file outside."""
    file = recipe.manifest["files"][4]
    record = file["offset"] - 1024
    tape = recipe.tape()
    assert tape[record:].startswith(b"204 path=hf/hub/")
    wrong = recipe.but(payload=edited_tape(recipe, record + 9, b"../../../")).build(alice)
    refused(wrong, "archive.digest", "the tar header of", deep=True)


def test_padding_that_holds_something(recipe, alice, refused):
    file = recipe.manifest["files"][0]
    at = file["offset"] + file["size"]
    wrong = recipe.but(payload=edited_tape(recipe, at, b"hidden")).build(alice)
    refused(wrong, "archive.digest", "the padding of 'README.txt'", deep=True)


def test_an_end_that_holds_something(recipe, alice, refused):
    wrong = recipe.but(payload=edited_tape(recipe, len(recipe.tape()) - 1, b"x")).build(alice)
    refused(wrong, "archive.digest", "the end of the tar", deep=True)


@pytest.mark.parametrize("more", [b"\0" * 512, b"x", b"\0" * 8192])
def test_a_payload_that_is_longer_than_its_tar(recipe, alice, refused, more):
    wrong = recipe.but(payload=recipe.tape() + more).build(alice)
    refused(wrong, "archive.digest", "its files make a payload of")


@pytest.mark.parametrize("less", [1, 512, 1024])
def test_a_payload_that_is_shorter_than_its_tar(recipe, alice, refused, less):
    wrong = recipe.but(payload=recipe.tape()[:-less]).build(alice)
    refused(wrong, "archive.digest", "its files make a payload of")


@pytest.mark.parametrize("at", [0, 100, 136, 156, 345, 500])
def test_the_header_of_the_manifest_itself(recipe, alice, refused, at):
    content = strict_json.readable(recipe.manifest)
    member = tar.manifest_member(content, recipe.manifest["created"])
    wrong = recipe.but(first=member[:at] + b"5" + member[at + 1 :]).build(alice)
    refused(wrong, "archive.digest", "the tar around it is not in the dialect")


def test_padding_of_the_manifest(recipe, alice, refused):
    content = strict_json.readable(recipe.manifest)
    member = tar.manifest_member(content, recipe.manifest["created"])
    wrong = recipe.but(first=member[:-1] + b"x").build(alice)
    refused(wrong, "archive.digest", "the tar around it")


@pytest.mark.parametrize("more", [b"\0" * 512, b"x"])
def test_a_second_member_in_frame_0(recipe, alice, refused, more):
    content = strict_json.readable(recipe.manifest)
    member = tar.manifest_member(content, recipe.manifest["created"])
    wrong = recipe.but(first=member + more).build(alice)
    refused(wrong, "archive.digest", "the tar around it")


BAD_PATHS = {
    "empty": "",
    "dot dot": "hf/../README.txt",
    "only dot dot": "..",
    "leading dot dot": "../hf/x",
    "trailing dot dot": "hf/..",
    "dot": "hf/./x",
    "absolute": "/hf/x",
    "root": "/",
    "double slash": "hf//x",
    "trailing slash": "hf/x/",
    "backslash": "hf\\x",
    "backslash dot dot": "hf/..\\..\\x",
    "drive letter": "C:/hf/x",
    "drive letter inside": "hf/C:x",
    "alternate stream": "hf/x:stream",
    "NUL": "hf/x\0y",
    "newline": "hf/x\ny",
    "escape": "hf/\x1b[2Jx",
    "delete": "hf/x\x7f",
    "C1 control": "hf/x\x9b",
    "right to left": "hf/\u202etxt.exe",
    "zero width": "hf/a\u200bb",
    "byte order mark": "hf/\ufeffx",
    "private use": "hf/\ue000",
    "unassigned": "hf/\U000e0fff",
    "decomposed": "hf/Gru\u0308\u00dfe",
    "compatibility singleton": "hf/\u212b",
    "wildcard": "hf/*",
    "question mark": "hf/?",
    "quote": 'hf/"x"',
    "angle": "hf/<x>",
    "pipe": "hf/a|b",
    "trailing dot": "hf/x.",
    "device": "hf/Aux.txt",
    "device as a folder": "hf/lpt1/x",
    "trailing space": "hf/x ",
    "trailing dot of a folder": "hf/x./y",
    "256 bytes": "hf/" + "x" * 256,
    "256 bytes in UTF-8": "hf/" + "\u00e9" * 128,
    "513 bytes": "hf/x" + "/".join(["x" * 101] * 5),
    "unknown root": "etc/passwd",
    "unknown top file": "setup.py",
    "root as file": "hf",
    "top file as root": "README.txt/x",
    "case of root": "HF/x",
    "hidden root": ".ssh/authorized_keys",
}


@pytest.mark.parametrize("kind", BAD_PATHS)
def test_paths(form, kind):
    form(lambda value: value["files"][0].update(path=BAD_PATHS[kind]), "file '")


def test_a_path_that_is_half_a_surrogate_pair(bytes_form):
    """JSON can escape what UTF-8 cannot hold."""
    bytes_form(
        lambda content: content.replace(b'"README.txt"', b'"hf/\\ud800"'), "is not valid UTF-8"
    )


@pytest.mark.parametrize("key", [b'"MIT"', b'"org/name"', b'"0.1.0"'])
def test_other_text_that_is_half_a_surrogate_pair(bytes_form, key):
    """It must be refused like any other form, and not crash what compares the form."""
    bytes_form(lambda content: content.replace(key, b'"\\udfff"'), "not in canonical form")


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("readme.TXT", None),
        ("hf/Grüße", "hf/GRÜSSE"),
        ("hf/\u017f", "hf/s"),
        ("hf/ﬀ", "hf/FF"),
        ("hf/Σ", "hf/ς"),
        ("hf/x", "hf/x"),
        ("hf/A/x", "hf/a/X"),
    ],
)
def test_twins_where_case_is_ignored(form, path, other):
    if other is None:  # the root itself is spelled in one way only
        form(lambda value: value["files"][1].update(path=path), "is not under a known root")
        return

    def edit(value):
        value["files"][1]["path"], value["files"][2]["path"] = path, other

    form(edit, f"'{other}' and '{path}' are one file where case is ignored")


def test_a_duplicate_path(form):
    form(
        lambda value: value["files"][1].update(path="README.txt"),
        "'README.txt' and 'README.txt' are one file",
    )


def test_a_file_that_is_the_manifest(form):
    form(
        lambda value: value["files"][1].update(path="manifest.json"),
        "'manifest.json' and 'manifest.json' are one file",
    )


@pytest.mark.parametrize(
    ("path", "other"),
    [("hf/a", "hf/a/b"), ("hf/a", "hf/a/b/c/d"), ("hf/A", "hf/a/b"), ("hf/a/b", "hf/a")],
)
def test_a_file_that_is_also_a_folder(form, path, other):
    def edit(value):
        value["files"][1]["path"], value["files"][2]["path"] = path, other

    file, folder = sorted((path, other), key=len)
    form(edit, f"'{file}' is a file and '{folder}' makes it a folder")


@pytest.mark.parametrize(
    "path",
    ["hf/" + "x" * 255, "hf/" + "é" * 127, "hf/" + "/".join(["x" * 101] * 5), "hf/a b", "hf/~"],
)
def test_paths_at_the_bound_are_read(recipe_of, alice, verified, path, trusting_alice):
    data = recipe_of({path: b"content"}).build(alice)
    bundle = verified(data, trusting_alice).bundle
    bundle.check_contents()
    assert [file.path for file in bundle.manifest.files] == [path]


TOP_KEYS = [*sorted(Manifest.__dataclass_fields__), "format"]


@pytest.mark.parametrize("key", TOP_KEYS)
def test_a_missing_key(form, key):
    form(lambda value: value.pop(key), f"'{key}' is missing")


@pytest.mark.parametrize("key", ["path", "size", "sha256", "git_blob", "offset", "artifact"])
def test_a_missing_key_of_a_file(form, key):
    form(lambda value: value["files"][0].pop(key), f"files[0]: '{key}' is missing")


@pytest.mark.parametrize(
    "key", ["id", "role", "engine", "path", "repository", "commit", "licence", "gated"]
)
def test_a_missing_key_of_an_artifact(form, key):
    form(lambda value: value["artifacts"][0].pop(key), f"artifacts[0]: '{key}' is missing")


@pytest.mark.parametrize("where", [(), ("files", 0), ("artifacts", 0)])
def test_an_unknown_key(form, where):
    def edit(value):
        for step in where:
            value = value[step]
        value["note"] = 1

    form(edit, "'note' is not known here")


@pytest.mark.parametrize("number", [0, 2, "1", 1.0, None, True])
def test_another_format(form, number):
    form(lambda value: value.update(format=number), "")


@pytest.mark.parametrize(
    ("key", "value", "saying"),
    [
        ("name", "Demo", "name: expected a name"),
        ("version", "", "version: expected a version"),
        ("sequence", -1, "sequence: expected an integer"),
        ("sequence", True, "sequence: expected an integer"),
        ("created", "yesterday", "created: expected a time"),
        ("expires", "", "expires: expected a time or null"),
        ("base", [], "base: expected an object"),
        ("base", {"name": "x"}, "base: 'version' is missing"),
        ("profile", "../x", "profile: expected a name"),
        ("profile_sha256", "0" * 63, "profile_sha256: expected 64 hex digits"),
        ("lock_sha256", None, "lock_sha256: expected 64 hex digits"),
        ("built_with", {"zstd": 1}, "built_with.zstd: expected a string"),
        ("built_with", [], "built_with: expected an object"),
        ("platform", "linux/arm64", "platform: expected a platform"),
        ("features", {"diarization_enabled": 1}, "expected true or false"),
        ("features", {"diarization_enabled": "yes"}, "expected true or false"),
        ("artifacts", {}, "artifacts: expected a list"),
        ("files", None, "files: expected a list"),
        ("files", [None], "files[0]: expected an object"),
        ("derived", [{}], "derived[0]: 'path' is missing"),
        ("derived", [{"path": "x", "rule": "y", "sources": [1]}], "sources: expected strings"),
        ("built", ["wheels/none.whl"], "'wheels/none.whl' is listed as made here"),
        ("built", [1], "built: expected strings"),
        ("scan", {"verdict": "clean"}, "scan: 'exempt' is missing"),
        ("scan", {"verdict": 1, "exempt": []}, "scan.verdict: expected a string"),
        ("dry_load", {"verdict": "ok", "exempt": [{"subject": "x"}]}, "'reason' is missing"),
    ],
)
def test_values(form, key, value, saying):
    form(lambda manifest: manifest.update({key: value}), saying)


@pytest.mark.parametrize(
    ("key", "value", "saying"),
    [
        ("size", -1, "files[0].size: expected an integer"),
        ("size", "20", "files[0].size: expected an integer"),
        ("sha256", "A" * 64, "files[0].sha256: expected 64 hex digits"),
        ("git_blob", "0" * 41, "files[0].git_blob: expected 40 hex digits or null"),
        ("offset", -1, "files[0].offset: expected an integer"),
        ("offset", False, "files[0].offset: expected an integer"),
        ("artifact", "none", "belongs to 'none', which is no artifact"),
        ("artifact", 1, "files[0].artifact: expected a string or null"),
        ("path", None, "files[0].path: expected a string"),
        ("path", ["hf"], "files[0].path: expected a string"),
    ],
)
def test_values_of_a_file(form, key, value, saying):
    form(lambda manifest: manifest["files"][0].update({key: value}), saying)


@pytest.mark.parametrize(
    ("key", "value", "saying"),
    [
        ("id", "A", "artifacts[0].id: expected a name"),
        ("role", "root", "artifacts[0].role: expected asr or"),
        ("engine", "", "artifacts[0].engine: expected a name or null"),
        ("path", "/etc", "artifacts[0].path: expected a folder"),
        ("path", "hf/..", "artifacts[0].path: expected a folder"),
        ("path", "", "artifacts[0].path: expected a folder"),
        ("gated", 0, "artifacts[0].gated: expected true or false"),
        ("licence", None, "artifacts[0].licence: expected a string"),
    ],
)
def test_values_of_an_artifact(form, key, value, saying):
    form(lambda manifest: manifest["artifacts"][0].update({key: value}), saying)


def test_an_artifact_twice(form):
    form(
        lambda value: value["artifacts"].append(value["artifacts"][0]),
        "artifact 'tiny' is there twice",
    )


def test_a_derived_file_that_is_not_there(form):
    form(
        lambda value: value["derived"].append({"path": "hf/no", "rule": "x", "sources": []}),
        "'hf/no' is listed as made here, and is no file",
    )


def test_more_files_than_the_limit(recipe, alice, refused, monkeypatch):
    monkeypatch.setattr(limits, "FILES", 5)
    refused(recipe.build(alice), "manifest.form", "files: expected a list of at most 5")


def rendered(**options):
    return lambda content: (json.dumps(json.loads(content), **options) + "\n").encode()


@pytest.mark.parametrize(
    ("edit", "saying"),
    [
        (rendered(sort_keys=True), "not in canonical form"),
        (rendered(sort_keys=True, indent=4, ensure_ascii=False), "not in canonical form"),
        (rendered(sort_keys=True, indent=2), "not in canonical form"),
        (lambda content: content[:-1], "not in canonical form"),
        (lambda content: content + b"\n", "not in canonical form"),
        (lambda content: content.replace(b"\n", b"\r\n"), "not in canonical form"),
        (lambda content: content.replace(b'"MIT"', b'"\\u004dIT"'), "not in canonical form"),
        (lambda content: content.replace(b'"sequence": 7', b'"sequence": -0'), "canonical form"),
        (lambda content: content.replace(b'"sequence": 7', b'"sequence": 7.0'), "not an integer"),
        (lambda content: content.replace(b'"sequence": 7', b'"sequence": NaN'), "not an integer"),
        (lambda content: content.replace(b'"sequence": 7', b'"sequence": Infinity'), "integer"),
        (
            lambda content: content.replace(b'"sequence": 7', b'"sequence": ' + b"9" * 10_000),
            "out of range",
        ),
        (
            lambda content: content.replace(b'"sequence": 7', b'"sequence": 7,\n  "sequence": 7'),
            "names a key twice",
        ),
        (
            lambda content: content.replace(b'"size": 20', b'"size": 20,\n      "size": 21'),
            "names a key twice",
        ),
        (lambda content: b"\xef\xbb\xbf" + content, "BOM"),
        (lambda content: content.replace(b"MIT", b"\xc0\xaf"), "not UTF-8"),
        (lambda content: content.replace(b"MIT", b"\xed\xa0\x80"), "not UTF-8"),
        (lambda content: b"[" * 100_000, "nested too deeply"),
        (lambda content: b'{"a":' * 17 + b"1" + b"}" * 17, "nested more than 16 deep"),
        (lambda content: b"[]", "it: expected an object"),
        (lambda content: b"{}", "'artifacts' is missing"),
        (lambda content: b"//" + content, "Expecting value"),
        (lambda content: content.replace(b"\n}", b",\n}"), "property name"),
    ],
)
def test_bytes_that_are_not_the_one_form(bytes_form, edit, saying):
    bytes_form(edit, saying)


def test_all_defects_are_told_at_once_and_sorted(recipe, alice, verified, trusting_alice):
    value = copy.deepcopy(recipe.manifest)
    for file, path in zip(value["files"], ["../a", "/b", "etc/c"], strict=False):
        file["path"] = path
    wrong = recipe.but(payload=recipe.tape(), manifest_bytes=strict_json.readable(value))
    with pytest.raises(DamagedError) as caught:
        verified(wrong.build(alice), trusting_alice)
    told = caught.value.message.split(": ", 1)[1].split("; ")
    assert len(told) == 3
    assert told == sorted(told)


def test_a_delta_leaves_files_to_its_base(recipe, alice, verified, trusting_alice):
    """Ranges are those of the files that are carried; the others have none."""
    files = [dict(file) for file in recipe.manifest["files"]]
    files[0]["offset"] = None
    position = files[1]["offset"]
    for file in files[1:]:
        file["offset"] -= position - 512
    delta = recipe.but_manifest(files=files, base=FULL)
    bundle = verified(delta.build(alice), trusting_alice).bundle
    taken = {file.path: b"".join(pieces) for file, pieces in bundle.contents()}
    assert taken == {path: recipe.contents[path] for path in list(recipe.contents)[1:]}
    assert bundle.manifest.base is not None
    assert len(bundle.manifest.carried) == len(files) - 1
