"""Pickles, judged without ever being run: every global that they name, and how they use it.

The opcodes are followed with a stack of what is known of each value, so that a name that is put
together from strings is seen as well. What cannot be followed is a danger of its own: a scanner
that skips what it does not understand is evaded by making it not understand (CVE-2025-1889).
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from airgap.limits import KIB, MIB
from bundler.scan.allowed import GLOBALS
from bundler.scan.findings import Finding, danger

MOST: Final = 512 * MIB
"""Bytes of pickles in one file. The weights of a checkpoint lie beside its pickles, not in them."""

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The first pickle of a file that torch wrote before it used zip (torch.serialization)."""

LEGACY_PICKLES: Final = 5
"""Magic, protocol, system, the object, the storages' keys; behind them lie raw numbers."""

OLDEST_BINARY: Final = b"\x80"
"""A pickle of protocol 2 or newer begins so."""

HEAD: Final = 64 * KIB
"""Bytes in which nearly everything that is no pickle breaks off."""

PICKLES: Final = 1_000
"""Pickles in one file that are followed. Honest files hold one, and two bytes make one more."""

LIGHTNING_CALLS: Final = "_instantiator"
"""A hyper-parameter: lightning imports and calls the function that it names, of any module, to
build the model of a checkpoint (lightning.pytorch.core.saving)."""

_CALLS: Final = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ"})


@dataclass(frozen=True)
class Named:
    """A global on the stack."""

    module: str
    name: str

    @property
    def allowed(self) -> bool:
        """Whether the allow-list has it."""
        return (self.module, self.name) in GLOBALS

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Text:
    """A string on the stack: it may become a name."""

    value: str


class Mark:
    """A mark on the stack."""


class Made:
    """Any other value: a number, a container, the result of a call."""


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """The opcodes make no sense; the message says how."""


def judge_pickles(stream: IO[bytes], place: str) -> list[Finding]:
    """Judge all pickles in a stream, from where it stands to its end.

    Args:
        stream: seekable.
        place: for the findings.
    """
    start = stream.tell()
    content = stream.read(MOST + 1)
    if len(content) > MOST:
        return [_unreadable(place, f"it is larger than {MOST} bytes")]
    findings: list[Finding] = []
    plain = io.BytesIO(content)
    count = 0
    legacy = False
    while (position := plain.tell()) < len(content) and not (legacy and count == LEGACY_PICKLES):
        if count == PICKLES:
            story = f"{len(content) - position} bytes behind pickle {count} are not followed"
            findings.append(_unreadable(place, story))
            break
        walk = Walk(plain)
        try:
            walk.run()
        except _Broken as error:
            if count:
                story = f"{len(content) - position} bytes behind pickle {count} are no pickle"
                findings.append(_unreadable(place, f"{story}: {error}"))
            else:
                findings.append(_unreadable(place, str(error)))
            findings += _named(walk, place)
            break
        findings += _named(walk, place)
        if count == 0 and start == 0:
            legacy = walk.first == LEGACY_MAGIC
        count += 1
    if count > 1 and not legacy:
        story = f"it holds {count} pickles, and a loader reads as many as it likes"
        findings.append(danger(place, "pickle.several", story))
    return sorted(set(findings))


def is_unmarked_pickle(stream: IO[bytes]) -> bool:
    """Whether a stream that does not begin like a pickle is one: older protocols need no mark.

    A text's first letters may be opcodes as well, so only what can be followed to its end counts,
    or what has called a global before it breaks off: by then a loader would have run it.
    """
    for most in (HEAD, MOST + 1):
        stream.seek(0)
        plain = io.BytesIO(stream.read(most))
        if _is_followed(plain):
            return True
        if plain.tell() < plain.getbuffer().nbytes:
            break
    return False


def _is_followed(plain: io.BytesIO) -> bool:
    size = plain.getbuffer().nbytes
    for _pickle in range(PICKLES):
        walk = Walk(plain)
        try:
            walk.run()
        except _Broken:
            return walk.calls
        if walk.named or walk.tricks or plain.tell() == size:
            return True
    return True


def _named(walk: Walk, place: str) -> Iterator[Finding]:
    for name in sorted({str(one) for one in walk.named if not one.allowed}):
        yield danger(place, "pickle.global", f"it names '{name}', which is not on the allow-list")
    for story in sorted(walk.tricks):
        yield danger(place, "pickle.trick", story)


def _unreadable(place: str, story: str) -> Finding:
    return danger(place, "pickle.unreadable", f"its pickle cannot be followed: {story}")


class Walk:
    """One pickle being followed.

    Attributes:
        named: every global that it names.
        tricks: sentences on what no honest pickle does.
        calls: whether it has called something since it named, or computed, a global.
        first: the value of its first integer; torch's old format tells itself by that.
    """

    def __init__(self, stream: io.BytesIO) -> None:
        self.named: set[Named] = set()
        self.tricks: set[str] = set()
        self.calls = False
        self.first: int | None = None
        self._stream = stream
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> None:
        """Follow it from where the stream stands to its end. Raises _Broken."""
        try:
            for opcode, argument, at in pickletools.genops(self._stream):
                self._step(opcode, argument, at or 0)
        # pickletools promises ValueError alone, and raises what its parts raise.
        except (ValueError, IndexError, KeyError, OverflowError, EOFError, TypeError) as error:
            raise _Broken(f"{type(error).__name__}: {str(error)[:120]}") from error

    def _step(self, opcode: pickletools.OpcodeInfo, argument: Any, at: int) -> None:
        name = opcode.name
        if name in {"GLOBAL", "INST"}:
            self._plain_global(name, argument, at)
        elif name == "STACK_GLOBAL":
            self._stack_global()
        elif name in _CALLS:
            self._call(name)
        elif name == "BUILD":
            self._build()
        elif name.startswith("EXT"):
            self.tricks.add(f"it names the extension {argument}, which only the loader can resolve")
            self._push(Made())
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            self._memo[int(argument)] = self._top()
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self._push(self._memo.get(int(argument), Made()))
        elif name == "DUP":
            self._push(self._top())
        else:
            self._other(opcode, argument)

    def _plain_global(self, opcode: str, argument: Any, at: int) -> None:
        # pickletools undoes escapes here, the loader does not: they would see two names.
        if b"\\" in self._stream.getbuffer()[at : self._stream.tell()].tobytes():
            self.tricks.add("it names a global with a backslash")
        module, _, name = str(argument).partition(" ")
        found = Named(module, name)
        self.named.add(found)
        if opcode == "INST":
            self._pop_to_mark()
            self._push(Made())
            self.calls = True
        else:
            self._push(found)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if isinstance(name, Text) and isinstance(module, Text):
            found = Named(module.value, name.value)
            self.named.add(found)
            self._push(found)
            return
        self.tricks.add("it computes the name of a global")
        self._push(Made())

    def _call(self, opcode: str) -> None:
        if opcode == "OBJ":
            items = self._pop_to_mark()
            called = items[0] if items else Made()
        else:
            for _argument in range(2 if opcode == "NEWOBJ_EX" else 1):
                self._pop()
            called = self._pop()
        self.calls = self.calls or bool(self.named or self.tricks)
        if not isinstance(called, Named):
            self.tricks.add("it calls something that it computed")
        self._push(Made())

    def _build(self) -> None:
        self._pop()
        if isinstance(self._top(), Named):
            # The state would be set on a class or function of the library itself.
            self.tricks.add(f"it changes '{self._top()}' itself")

    def _other(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Opcodes that move values and name nothing: as pickletools describes their effect."""
        before, after = opcode.stack_before, opcode.stack_after
        if pickletools.stackslice in before:
            self._pop_to_mark()
            before = before[: before.index(pickletools.markobject)]
        taken = [self._pop() for _ in before]
        if opcode.name in _FILLING and isinstance(taken[-1], Named):
            self.tricks.add(f"it changes '{taken[-1]}' itself")
        if argument == LIGHTNING_CALLS:
            self.tricks.add(f"it has lightning import and call what '{argument}' names")
        if self.first is None and isinstance(argument, int) and opcode.name.startswith("LONG"):
            self.first = argument
        for kind in after:
            self._push(_value(kind, argument))

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise _Broken("it takes more from its stack than there is")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise _Broken("it looks at an empty stack")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        items = []
        while not isinstance(value := self._pop(), Mark):
            items.append(value)
        return items[::-1]


_FILLING: Final = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"})
"""Opcodes that put items into what lies below them, by calling its methods."""


def _value(kind: Any, argument: Any) -> Any:
    if kind is pickletools.markobject:
        return Mark()
    return Text(argument) if isinstance(argument, str) else Made()
