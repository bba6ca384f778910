"""`split_folder`: how many go where, that it is the same everywhere, whole or not at all."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from minialex.data import open_image_folders, split_folder
from minialex.errors import DamagedSample, DataError

COUNTS = {"daisy": 29, "roses": 10, "tulips": 20}


def fill(root, counts=COUNTS):
    """Pictures that can be told apart by their one colour."""
    number = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            PIL.Image.new("RGB", (2, 2), (number % 256, number // 256, 7)).save(root / name / f"{i:03}.png")
            number += 1
    return root


@pytest.fixture
def source(tmp_path):
    return fill(tmp_path / "flowers")


def tree(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def parts(target):
    return {
        part: {path.relative_to(target / part) for path in (target / part).rglob("*.png")}
        for part in ("train", "val")
    }


def test_every_image_is_in_one_part_with_the_bytes_it_had(source, tmp_path):
    before = tree(source)
    done = split_folder(source, tmp_path / "out")
    assert tree(source) == before
    found = tree(tmp_path / "out")
    assert {Path(*path.parts[1:]): content for path, content in found.items()} == before
    assert len(found) == len(before)
    # int(29 * 0.1), int(10 * 0.1), int(20 * 0.1): the rule of the published script.
    assert done.validation == {"daisy": 2, "roses": 1, "tulips": 2}
    assert done.train == {"daisy": 27, "roses": 9, "tulips": 18}
    assert done.skipped == ()
    train, validation = open_image_folders(tmp_path / "out")
    assert train.counts() == done.train
    assert validation.counts() == done.validation
    assert sorted(os.listdir(tmp_path)) == ["flowers", "out"]


def test_the_share_is_that_of_int(tmp_path):
    # 100 * 0.29 is 28.999999999999996.
    done = split_folder(fill(tmp_path / "in", {"a": 100, "b": 7}), tmp_path / "out", validation=0.29)
    assert done.validation == {"a": 28, "b": 2}


def chosen(seed, position, count, wanted):
    """The pictures with the smallest words of Philox: key (seed, class number), counter (0, 0, 0, 1)."""
    key, counter = np.array([seed, position], np.uint64), np.array([0, 0, 0, 1], np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(count)
    return {f"{number:03}.png" for number in np.argsort(words)[:wanted]}


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_which_images_is_a_function_of_the_seed(source, tmp_path, seed):
    split_folder(source, tmp_path / "out", seed=seed)
    for position, (name, wanted) in enumerate({"daisy": 2, "roses": 1, "tulips": 2}.items()):
        assert set(os.listdir(tmp_path / "out/val" / name)) == chosen(seed, position, COUNTS[name], wanted)


def test_hard_links_share_the_file(source, tmp_path):
    split_folder(source, tmp_path / "copied")
    split_folder(source, tmp_path / "linked", link=True)
    assert tree(tmp_path / "linked") == tree(tmp_path / "copied")
    for path in tree(tmp_path / "linked"):
        original = source / Path(*path.parts[1:])
        assert (tmp_path / "linked" / path).samefile(original)
        assert not (tmp_path / "copied" / path).samefile(original)


def test_a_link_that_cannot_be_made_is_explained(source, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(DataError, match=r"cannot make a hard link .*cross-device.*copy the images instead"):
        split_folder(source, tmp_path / "out", link=True)
    assert os.listdir(tmp_path) == ["flowers"]


def test_symbolic_links_become_files(source, tmp_path):
    original = (source / "daisy/000.png").rename(tmp_path / "original.png")
    (source / "daisy/000.png").symlink_to(original)
    for link in (False, True):
        split_folder(source, tmp_path / str(link), link=link)
        found = next((tmp_path / str(link)).glob("*/daisy/000.png"))
        assert not found.is_symlink()
        assert found.samefile(original) == link


def test_sub_folders_are_kept_and_hidden_files_left_out(source, tmp_path):
    (source / "daisy/more").mkdir()
    (source / "daisy/000.png").rename(source / "daisy/more/001.png")
    for name in ("LICENSE.txt", ".hidden", "daisy/.DS_Store"):
        (source / name).write_text("x")
    split_folder(source, tmp_path / "out")
    names = set.union(*parts(tmp_path / "out").values())
    assert len(names) == sum(COUNTS.values())
    assert {Path("daisy/more/001.png"), Path("daisy/001.png")} <= names
    assert len(tree(tmp_path / "out")) == len(names)


@pytest.fixture
def damaged(source):
    (source / "roses/003.png").write_bytes(b"no image")
    (source / "roses/notes.txt").write_text("x")
    return source


def test_stop_names_the_first_bad_file_and_leaves_nothing(damaged, tmp_path):
    with pytest.raises(
        DamagedSample, match=r"roses/notes\.txt: its name is not that of an image\. Remove it"
    ):
        split_folder(damaged, tmp_path / "out")
    (damaged / "roses/notes.txt").unlink()
    with pytest.raises(
        DamagedSample, match=r"roses/003\.png: not an image of a known format .*Remove it, or skip"
    ):
        split_folder(damaged, tmp_path / "out")
    assert os.listdir(tmp_path) == ["flowers"]


def test_skip_leaves_them_out_and_says_so(damaged, tmp_path):
    for i in range(10, 12):
        PIL.Image.new("RGB", (2, 2)).save(damaged / f"roses/{i:03}.png")
    done = split_folder(damaged, tmp_path / "out", on_error="skip")
    assert [path for path, _ in done.skipped] == [
        str(damaged / "roses/notes.txt"),
        str(damaged / "roses/003.png"),
    ]
    assert done.skipped[0][1] == "its name is not that of an image"
    assert (done.train["roses"], done.validation["roses"]) == (10, 1)
    names = {path.name for path in (tmp_path / "out").glob("*/roses/*")}
    assert names == {f"{i:03}.png" for i in range(12) if i != 3}


@pytest.mark.parametrize("counts", [{"a": 9, "b": 50}, {"b": 50, "a": 1}])
def test_a_class_too_small_is_refused(tmp_path, counts):
    with pytest.raises(
        DataError, match=rf"class a has {counts['a']} images, of which int\({counts['a']} \* 0.1\) = 0"
    ):
        split_folder(fill(tmp_path / "in", counts), tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]


def test_an_empty_target_is_filled_and_a_full_one_refused(source, tmp_path):
    (tmp_path / "out").mkdir()
    split_folder(source, tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(DataError, match=r"target .*out must not be there yet, or be an empty folder"):
        split_folder(source, tmp_path / "out", seed=1)
    assert tree(tmp_path / "out") == before
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="must not be there yet"):
        split_folder(source, tmp_path / "file")


def test_places_that_would_mix_are_refused(source, tmp_path):
    for target in (source / "out", source / "daisy/out", source):
        with pytest.raises(DataError, match="must not be inside the source"):
            split_folder(source, target)
    split_folder(source, tmp_path / "out")
    with pytest.raises(DataError, match="is divided already"):
        split_folder(tmp_path / "out", tmp_path / "again")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        *[
            ({"validation": bad}, "validation must be a number between 0 and 1")
            for bad in (0, 1, -0.1, float("nan"), "x", True)
        ],
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"on_error": "ignore"}, "on_error must be 'stop' or 'skip', not 'ignore'"),
    ],
)
def test_bad_arguments_are_refused(source, tmp_path, arguments, says):
    with pytest.raises(DataError, match=says):
        split_folder(source, tmp_path / "out", **arguments)


def test_a_failure_while_copying_leaves_nothing(source, tmp_path):
    def stop(what, done, total):
        if (what, done) == ("copying", 30):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        split_folder(source, tmp_path / "deep/out", progress=stop)
    assert os.listdir(tmp_path / "deep") == []


def test_progress_counts_every_file_once(source, tmp_path):
    calls = []
    split_folder(source, tmp_path / "out", progress=lambda *call: calls.append(call))
    total = sum(COUNTS.values())
    assert calls == [(what, i, total) for what in ("checking", "copying") for i in range(1, total + 1)]


def test_a_relative_source_and_target(source, tmp_path, monkeypatch):
    monkeypatch.chdir(source)
    split_folder(".", "../out")
    assert len(tree(tmp_path / "out")) == sum(COUNTS.values())


def test_the_folders_are_for_others_to_read(source, tmp_path):
    before = os.umask(0o022)
    try:
        split_folder(source, tmp_path / "out")
    finally:
        os.umask(before)
    for path in (tmp_path / "out").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
