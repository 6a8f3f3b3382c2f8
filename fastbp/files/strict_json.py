"""The JSON of fastbp's files: of bounded depth, without repeated keys, with finite numbers and exact integers."""

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 16  # lists and objects in one another
MAX_DIGITS = 600  # of a whole number; Python's own limit is never below 640

WHOLE = re.compile(r"0|-?[1-9][0-9]*")
ALL_BUT_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[^][{}"]++', re.DOTALL)  # strings, and the text between them


class FormatError(ValueError):
    """A file is damaged, or this version of fastbp cannot read it; the message gives the place and the reason.

    See Also
    --------
    load

    Examples
    --------
    >>> import fastbp
    >>> from pathlib import Path
    >>> written = Path("no.fastbp").write_text("no network")
    >>> try:
    ...     fastbp.load("no.fastbp")
    ... except fastbp.FormatError:
    ...     print("refused")
    refused
    """


def check(value: object, where: str, depth: int = 0) -> None:
    """Raise a ValueError or TypeError that names the first part of `value` that a file cannot hold."""
    if isinstance(value, str):
        if not is_unicode(value):
            raise ValueError(f"{where} is not Unicode text: {value!r}")
    elif isinstance(value, int):
        if not -10**MAX_DIGITS < value < 10**MAX_DIGITS:
            raise ValueError(f"{where} is a number of more than {MAX_DIGITS} digits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value!r}; only finite numbers can be stored here (arrays keep any)")
    elif isinstance(value, (list, tuple, dict)):
        if depth == MAX_DEPTH:
            raise ValueError(f"{where} is nested more than {MAX_DEPTH} lists and dicts deep")
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict):
                if not isinstance(key, str):
                    raise TypeError(f"{where} has the key {key!r}; accepted are strings")
                check(key, f"a key of {where}", depth)
            check(item, f"{where}[{key!r}]", depth + 1)
    elif value is not None:
        raise TypeError(f"{where} is {type(value).__name__}; accepted are None, bool, int, float, str, lists and dicts")


def text(value: Any) -> str:
    """The JSON text of a value, without spaces, in ASCII."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def is_unicode(value: str) -> bool:
    """Can UTF-8 encode the string? It cannot encode lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse(source: str, where: str, *, depth: int = MAX_DEPTH, start: int = 0, fractions: bool = True) -> Any:
    """The value of a JSON text; a FormatError names `where`, and the byte counted from `start`."""
    deepest = level = 0
    for bracket in ALL_BUT_BRACKETS.sub("", source):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    if deepest > depth:
        raise FormatError(f"{where} is nested {deepest} deep; accepted are up to {depth}")
    try:
        value = json.loads(
            source, object_pairs_hook=_members, parse_int=_whole, parse_float=_finite if fractions else _no_number,
            parse_constant=_no_number,
        )
    except json.JSONDecodeError as error:
        at = start + len(source[:error.pos].encode(errors="surrogatepass"))
        raise FormatError(f"{where} is not JSON at byte {at}: {error.msg}") from None
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            parts += [*part, *part.values()]
        elif isinstance(part, list):
            parts += part
        elif isinstance(part, str) and not is_unicode(part):
            raise FormatError(f"{where} holds {part!r:.40}, which is not Unicode text")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise FormatError(f"{name!r:.200} occurs twice")
        members[name] = value
    return members


def _whole(digits: str) -> int:
    if not WHOLE.fullmatch(digits) or len(digits.lstrip("-")) > MAX_DIGITS:
        raise FormatError(f"{digits[:40]} is not the JSON form of a whole number of up to {MAX_DIGITS} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise FormatError(f"{digits[:40]} is not a finite number")
    return value


def _no_number(literal: str) -> NoReturn:
    raise FormatError(f"{literal[:40]} is not accepted as a number here")
