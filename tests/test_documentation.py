"""What the documentation says is what comes: its commands run, its links lead somewhere.

A ```console block below the comment `<!-- runs -->` is run, and what its commands print on stdout
is compared with what the page shows; below `<!-- runs: all output -->`, stderr is compared as well.
`<!-- runs`, commands on lines of their own, `-->` runs something that the page does not show. The
blocks of a page share one shell, which starts in an empty home. `…` stands for anything within a
line, or alone on a line for any lines. A command that fails is followed by `echo $?`. Commands that
cannot be run here stand below `<!-- not run: why -->`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import typer.main

from airgap import cli, places

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

# --- a page's commands, and what it says that they print --------------------------------------


class WrongPageError(Exception):
    """A page shows something other than what comes."""


@dataclass(frozen=True)
class Command:
    """A command of a page. `shown` is None where its output is nobody's business."""

    line: int
    text: str
    shown: str | None
    with_stderr: bool = False


MARKER = re.compile(r"<!-- runs(?P<stderr>: all output)? -->")


def without_examples(page: str) -> str:
    """The page with blocks of four backticks emptied: in them it speaks about pages."""
    return re.sub(
        r"^````$.*?^````$",
        lambda found: "\n" * found[0].count("\n"),
        page,
        flags=re.MULTILINE | re.DOTALL,
    )


def commands_of(page: str) -> Iterator[Command]:
    """The commands of a page that are to be run, in order."""
    lines = without_examples(page).splitlines()
    for number, line in enumerate(lines):
        if line == "<!-- runs":
            hidden = lines[number + 1 : lines.index("-->", number)]
            for offset, text in enumerate(hidden):
                yield Command(number + 2 + offset, text, None)
        elif marker := MARKER.fullmatch(line):
            if lines[number + 1] != "```console":
                raise WrongPageError(f"line {number + 1}: no console block follows")
            block = lines[number + 2 : lines.index("```", number + 2)]
            yield from _commands_in(block, number + 3, with_stderr=bool(marker["stderr"]))
        elif line.startswith("<!-- runs"):
            raise WrongPageError(f"line {number + 1}: expected <!-- runs -->, found {line}")


def _commands_in(block: list[str], first: int, *, with_stderr: bool) -> Iterator[Command]:
    """The commands of a block, each with the lines that follow it."""
    starts = [i for i, line in enumerate(block) if line.startswith("$ ")]
    if starts[:1] != [0]:
        raise WrongPageError(f"line {first}: expected `$ COMMAND`")
    for start, end in zip(starts, [*starts[1:], len(block)], strict=True):
        last = start
        while block[last].endswith("\\"):
            last += 1
        text = "\n".join(block[start : last + 1])[2:]
        shown = "".join(f"{line}\n" for line in block[last + 1 : end])
        yield Command(first + start, text, shown, with_stderr)


def matches(shown: str, printed: str) -> bool:
    """Whether `printed` is what a page shows, where `…` stands for what varies."""
    pattern = "".join(
        "(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
        for line in shown.splitlines()
    )
    plain = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, plain) is not None


# --- a shell that goes through a page -----------------------------------------------------------


class Shell:
    """A bash in which a page's commands run one after the other, as in a reader's terminal."""

    END = "the command has ended with"

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._command, self._stderr = folder / "command", folder / "stderr"
        home = folder / "home"
        home.mkdir()
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=home,
            env={**environment, "HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.status = 0
        # What waits for ever, for a port that is taken, fails and does not hang.
        self._patience = threading.Timer(900, self._bash.kill)
        self._patience.start()

    def run(self, text: str, *, with_stderr: bool) -> tuple[str, str]:
        """Run a command; returns what it printed, and stderr where that is not part of it."""
        # From a file: an open quote is then an error, and does not wait for more.
        self._command.write_text(f"{text}\n")
        self._stderr.write_text("")
        target = "&1" if with_stderr else shlex.quote(str(self._stderr))
        assert self._bash.stdin is not None
        self._bash.stdin.write(
            f"(exit {self.status}); . {shlex.quote(str(self._command))} </dev/null 2>{target}\n"
            f"printf '\\n{self.END} %d\\n' $?\n"
        )
        self._bash.stdin.flush()
        return self._read(), self._stderr.read_text()

    def _read(self) -> str:
        assert self._bash.stdout is not None
        printed = []
        for line in self._bash.stdout:
            if line.startswith(self.END):
                self.status = int(line.removeprefix(self.END))
                return "".join(printed).removesuffix("\n")
            printed.append(line)
        raise WrongPageError("the command ended the shell")

    def close(self) -> None:
        self._bash.communicate()
        self._patience.cancel()


def check_page(page: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a page. Raises WrongPageError at the first command that does not do what it shows."""
    commands = list(commands_of(page))
    shell = Shell(folder, environment)
    try:
        for command, after in zip_longest(commands, commands[1:]):
            printed, stderr = shell.run(command.text, with_stderr=command.with_stderr)
            what = f"line {command.line}: $ {command.text}\n{stderr}"
            failure_is_shown = after is not None and after.text == "echo $?"
            if shell.status != 0 and not failure_is_shown:
                raise WrongPageError(f"{what}exit code {shell.status}\n{printed}")
            if command.shown is not None and not matches(command.shown, printed):
                raise WrongPageError(
                    f"{what}--- the page shows\n{command.shown}--- it prints\n{printed}"
                )
    finally:
        shell.close()


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """A reader's variables: `airgap` is installed, and nothing of this machine is set."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",  # keeps stdout and stderr in their order where both are shown
        "AIRGAP_CACHE": str(places.download_cache()),
        # Where a user's root is without it, unless this machine has a real one.
        "AIRGAP_ROOT": str(tmp_path / "home/.local/share/airgap"),
    }


@pytest.mark.heavy
@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if re.search("^<!-- runs", without_examples(page.read_text()), re.MULTILINE)
    ],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_prints_what_it_shows(
    page: Path,
    tmp_path: Path,
    surroundings: dict[str, str],
    demo_files: Mapping[str, Path],
    foreign: Callable[[str], str],
) -> None:
    assert demo_files
    text = page.read_text()
    words = {word for command in commands_of(text) for word in re.findall(r"\w+", command.text)}
    for tool in words & {"jq", "openssl", "sha256sum", "tar", "unshare", "zstd"}:
        foreign(tool)
    check_page(text, tmp_path, surroundings)


@pytest.mark.heavy
def test_the_demo_ends_with_the_transcript(
    tmp_path: Path, surroundings: dict[str, str], demo_files: Mapping[str, Path]
) -> None:
    assert demo_files
    command = ["sh", ROOT / "deploy/demo.sh", tmp_path / "demo"]
    for _ in ("anew", "over the first"):
        done = subprocess.run(
            command,
            env={**surroundings, "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "Running in OFFLINE mode" in done.stdout
        said = done.stdout.partition("jfk.wav\n")[2]
        assert "ask what you can do for your country" in said.replace("\n", " ")
    assert (tmp_path / "demo/builder/passphrase").stat().st_mode & 0o777 == 0o600


def test_the_demo_stops_at_the_first_failure(tmp_path: Path, surroundings: dict[str, str]) -> None:
    fails = tmp_path / "bin/airgap"
    fails.parent.mkdir()
    fails.write_text("#!/bin/sh\necho called $1\nexit 3\n")
    fails.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / "deploy/demo.sh", tmp_path / "demo"],
        env={**surroundings, "PATH": f"{fails.parent}:{surroundings['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout.count("$ airgap") == 1
    assert (tmp_path / "demo/builder/paper.txt").read_text() == "called keygen\n"


# --- what a page names exists ---------------------------------------------------------------------

CODE = re.compile(r"^```.*?^```$|`[^`\n]+`|^ {4}.+$", re.MULTILINE | re.DOTALL)


def code_in(page: Path) -> str:
    """The code spans and code blocks of a page, a line each."""
    return "\n".join(found.strip("`") for found in CODE.findall(page.read_text()))


def anchors_in(page: Path) -> set[str]:
    """What the headings of a page are called in links to them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@PAGE
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        place = page.parent / path if path else page
        if not place.exists() or (anchor and anchor not in anchors_in(place)):
            broken.append(target)
    assert broken == []


@pytest.fixture(scope="module")
def verbs() -> Any:
    """The command with every verb that is installed."""
    cli._load_verbs()
    return typer.main.get_command(cli.app)


@PAGE
def test_verbs_and_options_exist(page: Path, verbs: Any) -> None:
    wrong = []
    for line in re.findall(r"(?:^|\$ |[|(] ?|&& )airgap ([a-z].*)", code_in(page), re.MULTILINE):
        words = re.findall(r"[^\s|;&)]+", line.partition("#")[0])
        command = verbs
        while words and hasattr(command, "commands"):
            name = words.pop(0)
            command = command.commands.get(name)
            if command is None:
                wrong.append(f"airgap {line}: no verb '{name}'")
        if command is not None:
            known = {"--help", *(name for one in command.params for name in one.opts)}
            given = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
            wrong += [f"airgap {line}: no option '{option}'" for option in given - known]
    assert wrong == []


PROGRAMS = (
    "airgap|apt|apt-get|buildah|curl|docker|eval|export|git|hf|jq|kubectl|make|minisign|mount|"
    "openssl|pip|podman|python|sha256sum|skopeo|sudo|systemctl|tar|zstd"
)


def unexplained(page: str) -> list[str]:
    """Blocks of commands that neither run nor say why not: the first line of each."""
    lines = ["", *without_examples(page).splitlines()]
    fences = [number for number, line in enumerate(lines) if line.startswith("```")]
    return [
        f"line {start}: {lines[start + 1]}"
        for start, end in zip(fences[::2], fences[1::2], strict=True)
        if any(re.match(rf"(\$ )?({PROGRAMS}) ", line) for line in lines[start:end])
        and not re.fullmatch(r"<!-- (runs(: all output)?|not run: .+) -->", lines[start - 1])
    ]


@PAGE
def test_commands_that_do_not_run_say_why(page: Path) -> None:
    assert unexplained(page.read_text()) == []
    for reason in re.findall(r"^<!-- not run: (.+) -->$", page.read_text(), re.MULTILINE):
        for path in re.findall(r"(?:tests|docs)/[\w/.]+", reason):
            assert (ROOT / path.rstrip(".")).exists(), reason


def test_a_block_without_a_reason_is_found() -> None:
    assert unexplained(block("$ airgap list", marker="")) == ["line 4: $ airgap list"]
    assert unexplained(block("$ airgap list", marker="<!-- not run: -->")) != []
    assert unexplained(block("$ airgap list", marker="<!-- not run: no host -->")) == []
    assert unexplained(block("$ airgap list")) == []


@PAGE
def test_variables_are_read_by_the_code(page: Path) -> None:
    read = "".join(
        path.read_text()
        for package in ("airgap", "bundler", "runtime")
        for path in (ROOT / package).rglob("*.py")
    )
    named = set(re.findall(r"\bAIRGAP_[A-Z]+\b", page.read_text()))
    assert {name for name in named if name not in read} == set()


@PAGE
def test_make_targets_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)", code_in(page))) <= set(targets)


# --- the mechanism itself: what is wrong fails --------------------------------------------------


def block(*lines: str, marker: str = "<!-- runs -->") -> str:
    return "\n".join(["text", "", marker, "```console", *lines, "```", "more text", ""])


RIGHT = {
    "what it shows": block("$ echo one; echo two", "one", "two"),
    "nothing shown, nothing printed": block("$ true", "$ true"),
    "a wildcard in a line": block("$ echo one two three", "one … three"),
    "a wildcard for lines": block("$ seq 9", "1", "…", "9"),
    "a wildcard for no line": block("$ seq 2", "1", "…", "2"),
    "a command of two lines": block("$ echo one \\", "    two", "one two"),
    "no newline at the end": block("$ printf one", "one"),
    "one shell for all": block("$ mkdir d", "$ cd d", "$ A=1")
    + block("$ echo $A ${PWD##*/}", "1 d"),
    "an empty home": block("$ ls -A ~"),
    "a failure that is shown": block("$ (exit 3)", "$ echo $?", "3"),
    "stderr is left out": block("$ echo one; echo two >&2", "one"),
    "stderr is shown": block("$ echo one; echo two >&2", "one", "two").replace(
        "runs -->", "runs: all output -->"
    ),
    "commands that are not shown": "<!-- runs\nA=1\ncd /\n-->\n" + block("$ echo $A $PWD", "1 /"),
    "no marker, not run": block("$ false", "one", marker=""),
    "a page about pages": "````\n" + block("$ false") + "````\n" + block("$ echo one", "one"),
    "stdin is empty": block("$ cat", "$ echo one", "one"),
}

WRONG = {
    "other output": (block("$ echo one", "two"), "the page shows\ntwo\n--- it prints\none"),
    "a line less": (block("$ seq 2", "1"), "it prints\n1\n2"),
    "a line more": (block("$ seq 2", "1", "2", "3"), "it prints\n1\n2"),
    "output that is not shown": (block("$ echo one"), "it prints\none"),
    "a special character is itself": (block("$ echo one", "o.e"), "it prints\none"),
    "a wildcard does not span lines": (block("$ seq 3", "1…3"), "it prints\n1\n2\n3"),
    "it fails": (block("$ echo why >&2; (exit 3)"), "why\nexit code 3"),
    "it fails, hidden": ("<!-- runs\nfalse\n-->\n", "exit code 1"),
    "it fails, and something else follows": (block("$ false", "$ true"), "exit code 1"),
    "the second block": (block("$ true") + block("$ echo one", "two"), "line 12: $ echo one"),
    "an open quote": (block("$ echo 'one"), "exit code"),
    "it ends the shell": (block("$ exit 0"), "the command ended the shell"),
    "no block after the marker": ("<!-- runs -->\n\ntext\n", "no console block follows"),
    "no command": (block("one"), "expected `$ COMMAND`"),
    "another marker": (block("$ true", marker="<!-- runs: stdout -->"), "expected <!-- runs -->"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_page_passes(name: str, tmp_path: Path, surroundings: dict[str, str]) -> None:
    check_page(RIGHT[name], tmp_path, surroundings)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_page_fails(name: str, tmp_path: Path, surroundings: dict[str, str]) -> None:
    page, says = WRONG[name]
    with pytest.raises(WrongPageError) as caught:
        check_page(page, tmp_path, surroundings)
    assert says in str(caught.value)
