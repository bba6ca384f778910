"""Text made safe to show."""

import ast
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.text import printable


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp932"])
@given(text=st.text(st.characters(exclude_characters="\\'", codec=None)))
def test_what_comes_out_is_printable_and_can_be_read_back(encoding, text):
    shown = printable(text, encoding)
    assert shown.isprintable()
    shown.encode(encoding)
    assert ast.literal_eval(f"'{shown}'") == text


def test_what_is_plain_stays():
    plain = string.digits + string.ascii_letters + string.punctuation + " "
    assert printable(plain, "ascii") == plain
    assert printable("a\tb\n", keep="\t") == "a\tb\\n"
