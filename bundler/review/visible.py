"""Characters that a reader cannot see, or that make a line read as another, shown by number.

Names and texts in a report come from files that strangers wrote. HTML's own characters are escaped
by the template engine; this is for what a browser would obey silently: a right-to-left override
turns `exe.txt` round (CVE-2021-42574).
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from markupsafe import Markup

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode's categories of control, format, surrogate, private, line and paragraph characters."""


def visible(value: Any) -> Any:
    """A value as it may stand in a report: a right-to-left override becomes `⟨U+202E⟩`.

    A newline stays. What is not text, or was made by the template itself, is left alone.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(
        f"⟨U+{ord(character):04X}⟩"
        if character != "\n" and unicodedata.category(character) in _HIDDEN
        else character
        for character in value
    )
