"""Files that are written whole or not at all."""

import errno
import os

import pytest

from skltransfer._files import check_regular, write_whole
from tests.full_disk import full_disk


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "file"
    for content in ("old", "new"):
        with write_whole(path) as temporary:
            temporary.write_text(content)
            assert temporary.name == "file"
        assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), write_whole(path) as temporary:
        temporary.write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"


def test_a_full_disk_is_an_error_that_names_the_path(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with full_disk(1000), pytest.raises(OSError, match="File too large") as raised:
        with write_whole(path) as temporary:
            temporary.write_bytes(bytes(2000))
    assert raised.value.filename == str(path) and raised.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"


def test_a_folder_that_is_not_there_or_full_is_named_and_not_a_temporary_one(tmp_path):
    for path in (tmp_path / "nowhere" / "file", tmp_path / "file" / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match=r"file'$") as raised, write_whole(path):
            pass
        assert raised.value.filename == str(path)


def test_errors_of_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, write_whole(tmp_path / "file"):
        open(tmp_path / "other")
    assert raised.value.filename == str(tmp_path / "other")


def test_devices_pipes_and_folders_are_neither_replaced_nor_read(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for path in (pipe, link, tmp_path):
        before = path.lstat()
        with pytest.raises(OSError, match="is a device or a pipe|is a folder") as raised:
            with write_whole(path) as temporary:
                temporary.touch()
        assert raised.value.filename == str(path) and path.lstat().st_ino == before.st_ino
        with pytest.raises(OSError, match="path='.*' is a device or a pipe|path='.*' is a folder"):
            check_regular(path, "path")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        check_regular(tmp_path / "nothing", "path")


def test_a_name_may_be_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("ü" * 127)
    with write_whole(path) as temporary:
        temporary.write_text("content")
    assert path.read_text() == "content"
