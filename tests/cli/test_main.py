"""The command line in odd surroundings: one line, an exit status, no traceback."""

import contextlib
import errno
import io
import os
import sys
from urllib.error import URLError

import pandas as pd
import pytest
import torch

from skltransfer._messages import ArgumentError, MissingPackage, NotDownloaded
from skltransfer.backbones import load_backbone
from skltransfer.cli import _compare, main
from skltransfer.cli._errors import CommandError
from skltransfer.cli._named_networks import explain, load


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def error_of(capsys, *arguments, status=2):
    assert main(list(arguments)) == status
    error = capsys.readouterr().err.lstrip("\n")  # the end of a progress bar
    assert error.startswith("skltransfer: ") and error.count("\n") == 1, error
    return error


def write_table(path):
    path.write_text("x,y\n" + "".join(f"{i % 7},{'uv'[i % 2]}\n" for i in range(20)))


# --- names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["\udcff.csv", "a\nb.csv", "-w.csv", "\N{CAT FACE} x.csv", "[bold]$x$.csv"]
)
def test_files_and_folders_with_odd_names(folder, name, capsys):
    write_table(folder / name)
    words = ["compare", "--label", "y", "--quick", "--output", f"out {name}", "--", name]
    assert main(words) == 0
    scores = pd.read_csv(folder / f"out {name}" / "scores.csv")
    assert len(scores) == 5
    assert "Traceback" not in capsys.readouterr().err


def test_names_that_cannot_be_written(folder, capsys):
    write_table(folder / "t.csv")
    for name in ("x" * 300, "t.csv/x", "a\0b"):
        for command in (
            ["compare", "t.csv", "--label", "y", "--output", name],
            ["extract", "t.csv", "--column", "x", "--output", f"{name}.parquet"],
        ):
            assert "--output " in error_of(capsys, *command)
    assert "File name too long" in error_of(capsys, "compare", "x" * 300, "--label", "y", status=1)


# --- inputs that are none --------------------------------------------------------------


def test_pipes_and_nested_json(folder, capsys):
    os.mkfifo(folder / "pipe.csv")
    assert "no file 'pipe.csv'" in error_of(capsys, "compare", "pipe.csv", "--label", "y")
    (folder / "net.pt").write_bytes(b"")
    (folder / "net.json").write_text("[" * 100_000)
    assert "net.json cannot be read" in error_of(capsys, "backbones", "net.pt")
    for command, message in (
        (["--backbone", "none.pt"], "--backbone none.pt: there is no such file"),
        (["--weights", "pipe.csv"], "--weights pipe.csv is no regular file"),
        (["--backbone", "resnet18", "--weights", "V9"], "weights of resnet18 are IMAGENET1K_V1"),
    ):
        words = ["extract", "t.csv", "--column", "x", "--output", "f.csv", *command]
        write_table(folder / "t.csv")
        assert message in error_of(capsys, *words)


# --- words -----------------------------------------------------------------------------


def test_messages_speak_of_options():
    layers = ArgumentError(("layers", ["a", "b"]), " are none. Pass ", ("layers", None), ".")
    assert str(layers) == "layers=['a', 'b'] are none. Pass layers=None."
    assert explain(layers) == "--layers a b are none. Pass no --layers."
    size = ArgumentError(("input_size", 3), ", but ", ("weights", None), " is random.")
    assert explain(size) == "--input-size 3, but --weights none is random."
    missing = MissingPackage(("backbone", "hf:x"), " needs transformers.")
    assert explain(missing) == "--backbone hf:x needs transformers."
    assert explain(missing, option="") == "hf:x needs transformers."
    away = NotDownloaded("It is away. Use ", ("backbone", "tiny"), ".")
    assert isinstance(away, ConnectionError)
    assert explain(away) == "It is away. Use --backbone tiny."


def test_weights_of_torchvision_that_cannot_be_had_are_explained_by_options(folder, monkeypatch):
    def refuse(*arguments, **settings):
        raise URLError("no connection")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    with pytest.raises(CommandError, match=r"PATH .*tiny for characters\), or --weights none"):
        load("resnet18")
    with pytest.raises(ValueError) as caught:
        load_backbone("resnet18", "IMAGENET1K_V9")
    assert explain(caught.value) == (
        "--weights IMAGENET1K_V9 is neither a file nor weights of 'resnet18': 'IMAGENET1K_V1'. "
        "Pass one of them, no --weights, or --weights none for random ones."
    )


# --- surroundings ----------------------------------------------------------------------


def test_a_full_disk_is_named_and_leaves_nothing(folder, monkeypatch, capsys):
    write_table(folder / "t.csv")
    place = str(folder / "out" / "scores.csv")

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)

    monkeypatch.setattr(_compare, "_write_scores", fail)
    arguments = ("compare", "t.csv", "--label", "y", "--quick", "--output", "out")
    error = error_of(capsys, *arguments, status=1)
    assert f"{place}" in error and "No space left on device" in error
    assert not os.listdir("out")  # no picture without its scores


def test_an_interruption_between_the_two_files_leaves_none(folder, monkeypatch, capsys):
    write_table(folder / "t.csv")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(_compare, "_write_scores", interrupt)
    arguments = ("compare", "t.csv", "--label", "y", "--quick", "--output", "out")
    assert "interrupted" in error_of(capsys, *arguments, status=130)
    assert not os.listdir("out")


def test_output_that_nobody_reads(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["backbones"]) == 141
    monkeypatch.setattr(sys, "stdout", None)  # closed before the start
    assert main(["backbones", "tiny"]) == 0
    monkeypatch.undo()
    with contextlib.redirect_stderr(Closed()):
        assert main(["compare", "none.csv", "--label", "y"]) == 141
