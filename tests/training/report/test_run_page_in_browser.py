"""The page of a run in headless Chromium, where there is one: nothing runs, all pictures show, all fits."""

import html
import io
import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# A page of 1280 or 400 pixels within another, which measures it: a window cannot be as narrow as a telephone.
FRAME = """<!DOCTYPE html>
<title>frame</title>
<iframe id="page" width="{width}" height="900" style="border: 0" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const view = document.getElementById("page").contentWindow, page = view.document;
  const images = [...page.images], seen = images.filter(each => each.getClientRects().length);
  const widths = [...page.querySelectorAll("body *")].filter(each => !each.closest(".wide"))
    .map(each => each.getBoundingClientRect().right);
  const answer = document.createElement("pre");
  answer.textContent = JSON.stringify({{
    title: page.title,
    width: page.documentElement.scrollWidth,
    right: Math.max(...widths),
    images: images.length,
    seen: seen.length,
    loaded: images.filter(each => each.complete && each.naturalWidth).length,
    fetched: view.performance.getEntriesByType("resource").map(each => each.name),
    background: view.getComputedStyle(page.body).backgroundColor,
    curves: seen[0].currentSrc,
    headings: [...page.querySelectorAll("h2")].map(each => each.textContent),
  }});
  document.body.append(answer);
}});
</script>
"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Run headless Chromium on a file; give what it prints."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)}")
    profile = tmp_path_factory.mktemp("profile")

    def run(path, *options):
        done = subprocess.run(
            [
                program,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                "--virtual-time-budget=20000",
                *options,
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def measure(browse, written, tmp_path_factory):
    """Measure the page of the small run at a width."""

    def run(width, *options):
        page = html.escape(written[0].read_text(encoding="utf-8"))
        frame = tmp_path_factory.mktemp("frame") / "frame.html"
        frame.write_text(FRAME.format(width=width, page=page), encoding="utf-8")
        answer = re.search(r"<pre>(.*)</pre>", browse(frame, "--dump-dom", *options), re.DOTALL)
        return json.loads(html.unescape(answer[1]))

    return run


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_shows_its_pictures(measure, width):
    page = measure(width)
    assert page["width"] == width
    assert page["right"] <= width
    assert page["loaded"] == page["images"] > 20
    assert page["seen"] == page["images"] - 2  # the two curves for dark pages
    assert page["fetched"] == []
    # A class is named <script>document.title = 'ran'</script>.
    assert re.fullmatch(r"small: \d+\.\d\d\s% of the test images right", page["title"])
    assert page["headings"][0] == "Learning curves"
    assert page["headings"][-1] == "Settings"


def test_light_and_dark(measure):
    light = measure(800, "--blink-settings=preferredColorScheme=1")
    dark = measure(800, "--blink-settings=preferredColorScheme=0")
    assert light["background"] == "rgb(255, 255, 255)"
    assert dark["background"] == "rgb(20, 24, 28)"
    assert light["curves"] != dark["curves"]


def test_it_is_drawn(browse, written, tmp_path):
    picture = tmp_path / "page.png"
    browse(
        written[0],
        f"--screenshot={picture}",
        "--window-size=1280,1600",
    )
    image = Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")
    assert image.size == (1280, 1600)
    colours = sorted(image.getcolors(2**24), reverse=True)
    assert colours[0][1] == (255, 255, 255)
    assert len(colours) > 100
    # The curves' blue.
    assert any(colour == (0, 96, 168) for _, colour in colours)
