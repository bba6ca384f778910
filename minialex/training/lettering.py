"""The names of classes, files and runs in pictures: what no font here has is escaped."""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font, get_font_names

from minialex.text import escaped, printable

# Matplotlib's own font has no Chinese, Japanese or Korean; these are what systems bring for them.
_FURTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip


@cache
def fonts() -> list[str]:
    """Matplotlib's font, and those after it that are installed."""
    return ["DejaVu Sans", *sorted(set(_FURTHER_FONTS) & set(get_font_names()))]


def drawable(text: str) -> str:
    """Escape what is not printable, or would be drawn as an empty box, with a warning."""
    return "".join(each if ord(each) in _characters() else escaped(each) for each in printable(text))


@cache
def _characters() -> frozenset[int]:
    """What the fonts can draw."""
    return frozenset().union(
        *(get_font(findfont(FontProperties(family=name))).get_charmap() for name in fonts())
    )
