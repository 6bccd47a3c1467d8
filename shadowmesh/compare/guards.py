"""
What a similarity does not see: small changes of a text that change everything.

Each guard says of a text whether something is wrong with it. Refusal, JSON, fence and length look at one text, and the
shadow's is held against the live one's. Numbers, negation and script look at what differs from the live text, and the
shadow's is held against the control's. Equal models are flagged equally often, whatever a guard takes for wrong, so a
guard may be simple; it has to be as blind to one side as to the other.

They look at the form and know no meaning, negations and refusals in English, German, French and Spanish only. There is
no guard of the language: the detectors there are want 100 MB and guess at answers of a few words. ``script`` sees
one that is written in other letters.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from itertools import islice

Flags = dict[str, tuple[bool | None, bool]]
"""By guard: what it says of the live text, and of the shadow's; ``None`` where it takes both to say anything."""

REFUSAL, JSON, FENCE, LENGTH = "refusal", "json", "fence", "length"
NUMBERS, NEGATION, SCRIPT = "numbers", "negation", "script"
ALL = frozenset({REFUSAL, JSON, FENCE, LENGTH, NUMBERS, NEGATION, SCRIPT})

_NUMBER = re.compile(r"(?:(?<![\w.,)\]])[-\u2212])?\d+(?:[.,]\d+)*")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?")
_WORD = re.compile(r"[^\W\d_]+")
_NEGATIONS = frozenset(
    (
        *("no", "not", "cannot", "never", "none", "nobody", "nothing", "neither", "nor", "without"),
        *("nicht", "nichts", "kein", "keine", "keinen", "keinem", "keiner", "keines", "nie", "niemals", "niemand"),
        *("ohne", "weder", "pas", "jamais", "aucun", "aucune", "rien", "sans"),
        *("nunca", "ning\u00fan", "ninguna", "nada", "tampoco"),
    )
)
# Of the beginning only: an answer may quote one.
_REFUSAL_WITHIN = 300
_REFUSAL = re.compile(
    r"\b(?:i(?: am|'m) (?:unable to|not able to|not allowed to)"
    r"|i (?:can(?:'t|not| not)|won't|will not|must decline to|have to decline to) "
    r"(?:assist|help|provide|comply|fulfill?|answer|create|generate|write|discuss|share|give|engage|do th(?:at|is))"
    r"|i(?: must| have to)? (?:decline|refuse)\b"
    r"|as an ai(?: language model| assistant| model)?,? i (?:can|am|do|don't)"
    r"|(?:sorry|apologi[sz]e),? but (?:i|this|that|we) (?:can|am|'m|won't|will not|is not|isn't)"
    r"|(?:dabei|damit) kann ich (?:\w+ ){0,2}nicht"
    r"|ich (?:kann|darf) (?:\w+ ){0,4}nicht (?:helfen|beantworten|erf\u00fcllen)"
    r"|je ne (?:peux|suis) pas|no puedo (?:ayudar|proporcionar|responder|cumplir))",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})(.*)$", re.MULTILINE)
_SCRIPT_LETTERS = 256
_ONE_SCRIPT = {"HIRAGANA": "JAPANESE", "KATAKANA": "JAPANESE"}
_CUT_SHORT = frozenset({"length", "max_tokens"})


def guards(live: str, shadow: str) -> Flags:
    """
    Return what the guards say of two whole texts; never raises.

    ``json`` and ``fence`` are left out where neither text has what they look at, ``script`` where one has no letters.
    """
    flags: Flags = {
        REFUSAL: (is_refusal(live), is_refusal(shadow)),
        NUMBERS: (None, numbers(live) != numbers(shadow)),
        NEGATION: (None, negations(live) != negations(shadow)),
    }
    if begins_as_json(live) or begins_as_json(shadow):
        flags[JSON] = (not is_json(live), not is_json(shadow))
    fences = fences_of(live), fences_of(shadow)
    if fences != (None, None):
        flags[FENCE] = (fences[0] is False, fences[1] is False)
    scripts = script(live), script(shadow)
    if None not in scripts:
        flags[SCRIPT] = (None, scripts[0] != scripts[1])
    return flags


def length(live: Collection[str], shadow: Collection[str]) -> Flags:
    """Return from the finish reasons of two legs which of them was cut short; nothing where one says none."""
    if not (live and shadow):
        return {}
    cut, shadow_cut = (any(reason.casefold() in _CUT_SHORT for reason in reasons) for reasons in (live, shadow))
    return {LENGTH: (cut, shadow_cut)}


def numbers(text: str) -> Counter[str]:
    """Return how often each number is in a text: "1,000.50" is "1000.5", "-5" is not "5", and words are no numbers."""
    return Counter(_plain(found) for found in _NUMBER.findall(text))


def _plain(number: str) -> str:
    if not number.isascii():
        number = "".join(str(unicodedata.decimal(each, each)) for each in number.replace("\u2212", "-"))
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    if _GROUPED.fullmatch(digits):
        # The first mark groups; only another one can part the fraction.
        digits = digits.replace(next(each for each in digits if each in ",."), "")
    whole, mark, fraction = digits.replace(",", ".").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    plain = f"{whole}{mark}{fraction}" if fraction else whole
    return plain if plain == "0" else sign + plain


def negations(text: str) -> int:
    """Return how many negations are in a text."""
    text = _straight(text).casefold()
    return sum(map(_NEGATIONS.__contains__, _WORD.findall(text))) + text.count("n't")


def is_refusal(text: str) -> bool:
    """Return whether a text begins by declining to answer."""
    return _REFUSAL.search(_straight(text[:_REFUSAL_WITHIN])) is not None


def begins_as_json(text: str) -> bool:
    """Return whether a text sets out to be an object or a list, in a code fence or not."""
    return _unfenced(text).startswith(("{", "["))


def is_json(text: str) -> bool:
    """Return whether a text is an object or a list in JSON and nothing else, in a code fence or not."""
    try:
        # Numbers stay text: Python refuses to read long ones.
        said = json.loads(_unfenced(text), parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict | list)


def fences_of(text: str) -> bool | None:
    """Return whether every code fence in a text is closed; ``None`` if there is none."""
    opened: str | None = None
    found = None
    for mark, rest in _FENCE.findall(text):
        found = True
        if opened is None:
            opened = mark
        elif mark[0] == opened[0] and len(mark) >= len(opened) and not rest.strip():
            opened = None
    return found and opened is None


def script(text: str) -> str | None:
    """Return in which letters most of the first words are written, by the name Unicode has for them."""
    letters = islice(filter(str.isalpha, text), _SCRIPT_LETTERS)
    kinds = Counter(unicodedata.name(letter, "").partition(" ")[0].partition("-")[0] for letter in letters)
    if not kinds:
        return None
    for name, kind in _ONE_SCRIPT.items():
        kinds[kind] += kinds.pop(name, 0)
    # Of two that are equally many always the same one.
    return max(kinds, key=lambda kind: (kinds[kind], kind))


def _straight(text: str) -> str:
    return text.replace("\u2019", "'")


def _unfenced(text: str) -> str:
    """Return what is in the fence, where the text is a fence around something and nothing else."""
    stripped = text.strip()
    if not (stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped):
        return stripped
    return stripped[stripped.index("\n") : -3].strip()


def _refuse(constant: str) -> None:
    raise ValueError(constant)
