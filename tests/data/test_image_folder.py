"""`ImageFolder` and `open_image_folders`: which files, in which order, and what is refused."""

import os
import shutil

import numpy as np
import PIL.Image
import pytest

from minialex.data import Dataset, ImageFolder, open_image_folders
from minialex.data.image_folder import find_damaged, has_parts
from minialex.errors import DamagedSample, DataError

# torchvision 0.28's ImageFolder gives these samples for the files of TREE, in this order, and the hidden
# one before Z/x.bmp.
TREE = [
    *("b/2.png", "b/10.jpg", "b/a/1.JPG", "b/a-b/0.jpeg", "b/a/c/1.png", "b/A.webp"),
    *("Z/x.bmp", "a_b/é.tif", "a_b/e.TIFF", "a_b/notes.txt", "a_b/x.jpg.txt", "Z/.hidden.png"),
    *("Z/y.ppm", "Z/z.pgm", "_/q.gif", "_/p.png", "top.png"),
]
SAMPLES = [
    *[("Z/x.bmp", 0), ("Z/y.ppm", 0), ("Z/z.pgm", 0), ("_/p.png", 1), ("a_b/e.TIFF", 2), ("a_b/é.tif", 2)],
    *[
        ("b/10.jpg", 3),
        ("b/2.png", 3),
        ("b/A.webp", 3),
        ("b/a/1.JPG", 3),
        ("b/a-b/0.jpeg", 3),
        ("b/a/c/1.png", 3),
    ],
]


def plant(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def picture(path, colour, size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, colour).save(path, "PNG")
    return path


def test_files_and_labels_are_those_of_torchvision(tmp_path):
    folder = ImageFolder(plant(tmp_path / "set", TREE))
    found = [os.path.relpath(path, folder.root) for path in folder.paths]
    assert list(zip(found, folder.labels.tolist(), strict=True)) == SAMPLES
    assert folder.classes == ("Z", "_", "a_b", "b")
    assert folder.class_to_idx == {"Z": 0, "_": 1, "a_b": 2, "b": 3}
    assert folder.counts() == {"Z": 3, "_": 1, "a_b": 2, "b": 6}
    assert len(folder) == 12
    assert folder.name == "set"
    assert repr(folder) == "<ImageFolder set: 12 images, 4 classes>"
    assert folder.labels.dtype == np.int64
    assert not folder.labels.flags.writeable
    assert isinstance(folder, Dataset)


def test_an_image_is_decoded_when_it_is_asked_for(tmp_path):
    picture(tmp_path / "cat/1.png", (1, 2, 3))
    picture(tmp_path / "dog/1.png", (250, 0, 9), (5, 2))
    folder = ImageFolder(tmp_path, name="pets")
    image, label = folder[1]
    assert (image.dtype, image.shape, label, type(label)) == (np.uint8, (3, 2, 5), 1, int)
    assert image[:, 0, 0].tolist() == [250, 0, 9]
    image, label = folder[0]
    assert (image.shape, label) == ((3, 3, 4), 0)
    assert [each for _, each in folder] == [0, 1]
    assert folder.name == "pets"
    with pytest.raises(IndexError):
        folder[2]


def test_grey(tmp_path):
    picture(tmp_path / "cat/1.png", (255, 0, 0))
    image = ImageFolder(tmp_path, mode="L")[0][0]
    assert image.shape == (1, 3, 4)
    assert (image == 76).all()  # 0.299 * 255
    with pytest.raises(DataError, match="mode must be 'L' or 'RGB', not 'grey'"):
        ImageFolder(tmp_path, mode="grey")


def test_images_are_upright(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    PIL.Image.new("RGB", (4, 3)).save(tmp_path / "a/1.jpg", exif=exif)
    assert ImageFolder(tmp_path)[0][0].shape == (3, 4, 3)


def test_a_damaged_file_is_named(tmp_path):
    picture(tmp_path / "cat/1.png", (1, 2, 3))
    (tmp_path / "cat/2.png").write_bytes(b"no image")
    gone = picture(tmp_path / "cat/3.png", (1, 2, 3))
    folder = ImageFolder(tmp_path)
    with pytest.raises(DamagedSample) as caught:
        folder[1]
    assert caught.value.path == str(tmp_path / "cat/2.png")
    assert "not an image of a known format" in caught.value.reason
    gone.unlink()
    with pytest.raises(DamagedSample, match=r"3\.png: there is no file") as caught:
        folder[2]
    assert caught.value.path == str(gone)
    assert [reason is None for _, reason in find_damaged(folder.paths)] == [True, False, False]


def test_find_damaged_keeps_the_order_over_many_files(tmp_path):
    good = picture(tmp_path / "good.png", (0, 0, 0))
    paths = []
    for number in range(600):
        path = tmp_path / f"{number}.png"
        if number % 7:
            os.link(good, path)
        else:
            path.write_bytes(str(number).encode())
        paths.append(str(path))
    found = list(find_damaged(iter(paths)))
    assert [path for path, _ in found] == paths
    for number, (_, reason) in enumerate(found):
        if number % 7:
            assert reason is None
        else:
            assert reason.endswith(f"it starts with the bytes {str(number).encode().hex(' ')}")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "has no sub-folders; there must be one for each class"),
        (["1.png", ".git/1.png"], "has no sub-folders"),
        (["cat/1.png", "dog/.1.png"], "class dog in .* has no images"),
        (["cat/1.png", "dog/1.gif"], r"class dog .* end in \.jpg, \.jpeg, \.png, \.ppm, \.bmp, \.pgm, \.tif"),
        (["cat/1.png", "dog/.more/1.png"], "class dog in .* has no images"),
    ],
)
def test_a_folder_that_is_not_one_of_classes_is_refused(tmp_path, names, says):
    with pytest.raises(DataError, match=says):
        ImageFolder(plant(tmp_path, names))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the folder .*nowhere: No such file"):
        ImageFolder(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot read the folder .*file: Not a directory"):
        ImageFolder(tmp_path / "file")


def test_a_class_name_that_is_no_text_is_refused(tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(DataError, match=r"the class folder 'caf\\udce9' is not valid UTF-8"):
        ImageFolder(tmp_path)


def test_a_class_may_be_a_link_and_a_loop_of_links_ends(tmp_path):
    picture(tmp_path / "elsewhere/1.png", (1, 1, 1))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "elsewhere")
    folder = ImageFolder(tmp_path / "set")
    assert folder.paths == (str(tmp_path / "set/cat/1.png"),)


def test_subset(tmp_path):
    for number in range(4):
        picture(tmp_path / f"{'ab'[number % 2]}/{number}.png", (number, 0, 0))
    folder = ImageFolder(tmp_path)  # a/0 a/2 b/1 b/3
    part = folder.subset(np.array([3, 0, 3]), "part")
    assert [(int(image[0, 0, 0]), label) for image, label in part] == [(3, 1), (0, 0), (3, 1)]
    assert (part.name, part.classes, len(part)) == ("part", ("a", "b"), 3)
    assert not part.labels.flags.writeable
    assert (folder.name, len(folder)) == (tmp_path.name, 4)
    assert folder.subset([0]).name == folder.name
    for bad in ([4], [-1], [0.5], [True]):
        with pytest.raises(DataError, match="an index must be an integer from 0 to 3"):
            folder.subset(bad)


@pytest.mark.parametrize("second", ["val", "validation", "test"])
def test_train_and_validation_are_opened_together(tmp_path, second):
    plant(tmp_path / "flowers", ["train/daisy/1.jpg", "train/rose/1.jpg", "train/rose/2.jpg"])
    plant(tmp_path / "flowers", [f"{second}/daisy/9.jpg", f"{second}/rose/8.jpg"])
    train, validation = open_image_folders(tmp_path / "flowers", mode="L")
    assert train.paths == tuple(
        str(tmp_path / "flowers/train" / each) for each in ("daisy/1.jpg", "rose/1.jpg", "rose/2.jpg")
    )
    assert [os.path.basename(path) for path in validation.paths] == ["9.jpg", "8.jpg"]
    assert (train.name, validation.name) == ("flowers-train", f"flowers-{second}")
    assert train.mode == validation.mode == "L"
    assert has_parts(tmp_path / "flowers")
    assert not has_parts(tmp_path / "flowers/train")


def test_the_layout_of_imagenet(tmp_path):
    for wnid in ("n01443537", "n01440764"):
        plant(tmp_path, [f"train/{wnid}/{wnid}_{number}.JPEG" for number in (10026, 9)])
        plant(tmp_path, [f"val/{wnid}/ILSVRC2012_val_{wnid[-2:]}.JPEG"])
    train, validation = open_image_folders(tmp_path)
    assert train.classes == validation.classes == ("n01440764", "n01443537")
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert validation.labels.tolist() == [0, 1]


def test_parts_that_do_not_fit_are_refused(tmp_path):
    plant(tmp_path, ["train/a/1.png", "train/b/1.png"])
    with pytest.raises(
        DataError, match="must have two folders of classes, train and val or validation or test"
    ):
        open_image_folders(tmp_path)
    plant(tmp_path, ["val/a/1.png"])
    with pytest.raises(
        DataError, match=r"the same classes; only in the first: \['b'\], only in the second: \[\]"
    ):
        open_image_folders(tmp_path)
    plant(tmp_path, ["val/c/1.png"])
    with pytest.raises(DataError, match=r"only in the first: \['b'\], only in the second: \['c'\]"):
        open_image_folders(tmp_path)
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(DataError, match="must have two folders"):
        open_image_folders(tmp_path)
