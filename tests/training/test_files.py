"""Files appear whole, or not at all."""

import json

import pytest

from minialex.files import write_atomically, write_json, write_text


def test_text_and_json_arrive(tmp_path):
    write_text(tmp_path / "a.txt", "grüße\n")
    assert (tmp_path / "a.txt").read_bytes() == "grüße\n".encode()
    write_json(tmp_path / "a.json", {"a": [1, 2.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2.5]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.txt"]


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "precious"
    path.write_text("before")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="disk"):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["precious"]


def test_permissions_follow_the_umask(tmp_path):
    write_text(tmp_path / "mine", "")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "mine").stat().st_mode == (tmp_path / "plain").stat().st_mode
