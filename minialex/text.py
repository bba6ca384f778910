"""Text that comes from users and files, made safe to show."""

from __future__ import annotations


def escaped(character: str) -> str:
    """A character as Python writes it in a string."""
    return character.encode("unicode_escape").decode("ascii")


def printable(text: str, encoding: str = "utf-8", keep: str = "") -> str:
    r"""Escape what is not printable, or does not exist in an encoding.

    ``str.isprintable`` rejects line ends, escape sequences, marks that change the direction of text, and
    the lone surrogates to which Python decodes file names that are not valid text.

    Parameters
    ----------
    text : str
    encoding : str
        Of the terminal or file that it is for.
    keep : str
        Characters to keep as they are.

    Examples
    --------
    >>> printable("cat\n\udcff")
    'cat\\n\\udcff'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        each if each in keep or (each.isprintable() and _can_encode(each, encoding)) else escaped(each)
        for each in text
    )


def _can_encode(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
