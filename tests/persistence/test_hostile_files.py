"""load of what is damaged, hostile or not ours: nothing in it is run, and errors are named."""

import io
import json
import os
import pickle
import random
import re
import struct
import zipfile
from functools import partial

import numpy as np
import pytest
import skops.io
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

import skltransfer
from skltransfer import FineTunedClassifier, PretrainedFeatureTransformer
from skltransfer.persistence._modules import ModuleData
from tests.full_disk import full_disk
from tests.persistence.models import DIGITS, LABELS, MODELS, SHORT, build_columns, seeded


def touch(path):
    """Leave a trace: what a hostile file would like to call."""
    open(path, "w").close()


class Foreign(TransformerMixin, BaseEstimator):
    """A step of the user's own."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path, members, **settings):
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def rewrite(path, change):
    """Write the members of a file anew, each as `change(name, content)` has it."""
    changed = {name: change(name, content) for name, content in members_of(path).items()}
    write_members(path, {n: content for n, content in changed.items() if content is not None})


def saved(tmp_path, estimator=None):
    if estimator is None:
        estimator = FineTunedClassifier(**SHORT).fit(DIGITS, LABELS)
    return skltransfer.save(estimator, tmp_path / "model.skops")


def test_a_foreign_step_is_named(tmp_path):
    path = saved(tmp_path, make_pipeline(Foreign(), PCA(2)).fit(DIGITS))
    with pytest.raises(
        TypeError, match=r"tests\.persistence\.test_hostile_files\.Foreign.*trusted=\["
    ):
        skltransfer.load(path)
    name = f"{Foreign.__module__}.Foreign"
    assert isinstance(skltransfer.load(path, trusted=[name])[0], Foreign)
    assert isinstance(skltransfer.load(path, trusted=name)[0], Foreign)


@pytest.mark.parametrize("hostile", ["function", "partial", "class"])
def test_a_hostile_file_runs_nothing(hostile, tmp_path):
    trace = tmp_path / "trace"
    function = FunctionTransformer(partial(touch, str(trace)) if hostile == "partial" else touch)
    path = saved(tmp_path, function)

    def change(name, content):
        if name != "schema.json":
            return content
        text = content.decode()
        assert "touch" in text
        text = text.replace(
            '"__module__": "tests.persistence.test_hostile_files"', '"__module__": "os"'
        )
        text = text.replace('"touch"', '"system"')
        if hostile == "class":
            text = text.replace("FunctionNode", "TypeNode")
        return text

    rewrite(path, change)
    with pytest.raises(TypeError, match=r"os\.system"):
        skltransfer.load(path)
    assert not trace.exists()


def hostile_structure(path, change):
    """Change the descriptions of networks in a file, and make their digests right again."""
    members = members_of(path)
    schema = json.loads(members["schema.json"])
    described = [n for n in _nodes(schema) if n.get("__class__") == "ModuleData" and "content" in n]
    assert described
    for node in described:
        attributes = node["content"]["content"]
        structure = change(json.loads(json.loads(attributes["structure"]["content"])))
        attributes["structure"]["content"] = json.dumps(json.dumps(structure))
        arrays = np.load(io.BytesIO(members[attributes["tensors"]["file"]]))
        digest = ModuleData(json.dumps(structure), arrays, "cpu").digest
        attributes["digest"]["content"] = json.dumps(digest)
    write_members(path, members | {"schema.json": json.dumps(schema).encode()})


def _nodes(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _nodes(entry)


def test_a_hostile_description_of_a_network_runs_nothing(tmp_path):
    estimator = PretrainedFeatureTransformer(seeded(build_columns))

    def with_class(name):
        return lambda structure: structure | {"class": name}

    def with_setting(value):
        return lambda structure: structure | {"settings": {"x": value}}

    trace = str(tmp_path / "trace")
    for change, kind, words in (
        (with_class("os.system"), TypeError, r"os\.system.*not trusted"),
        (with_class("subprocess.Popen"), TypeError, "not trusted"),
        (with_class("torch.nn.modules.module.torch"), (TypeError, ValueError), None),
        (with_class("torch.nn.modules.linear.math"), (TypeError, ValueError), None),
        (with_class("torch.fx.graph_module.GraphModule"), TypeError, "not trusted"),
        (with_class("torch.jit._script.ScriptModule"), TypeError, "not trusted"),
        (with_class("skltransfer.cli.main"), TypeError, "not trusted"),
        (with_setting({"partial": [{"class": "os.system"}, [], {}]}), TypeError, "not trusted"),
        (with_setting({"partial": ["touch", {"tuple": [trace]}, {"dict": []}]}), ValueError, None),
        (with_setting({"function": "torch.load"}), ValueError, "unknown kind"),
        (with_setting({"call": "touch"}), ValueError, "unknown kind"),
        (lambda s: s | {"settings": {"forward": 1}}, ValueError, "no setting 'forward'"),
        (lambda s: s | {"settings": {"__class__": 1}}, ValueError, "no setting"),
        (lambda s: s | {"settings": {"_forward_hooks": 1}}, ValueError, "no setting"),
        (lambda s: [], ValueError, "cannot be read"),
        (lambda s: s | {"tensors": [["parameter", "p", "99", True]]}, ValueError, "cannot be read"),
    ):
        path = saved(tmp_path, estimator)
        hostile_structure(path, change)
        with pytest.raises(kind, match=words):
            skltransfer.load(path)
    assert not (tmp_path / "trace").exists()


def test_replaced_tensors_are_noticed(tmp_path):
    path = saved(tmp_path)

    def change(name, content):
        if not name.endswith(".npy"):
            return content
        array = np.load(io.BytesIO(content))
        if array.dtype != np.uint8:
            return content
        tensors = {name: tensor + 1 for name, tensor in tensors_of(array.tobytes()).items()}
        buffer = io.BytesIO()
        np.save(buffer, np.frombuffer(bytes_of(tensors), np.uint8))
        return buffer.getvalue()

    rewrite(path, change)
    with pytest.raises(ValueError, match="have changed since they were saved"):
        skltransfer.load(path)


def test_damaged_and_foreign_files(tmp_path):
    whole = saved(tmp_path).read_bytes()
    path = tmp_path / "bad.skops"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for content in (b"", b"no zip", whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.skops cannot be read. It is damaged"):
            skltransfer.load(path)
    for lost in ("schema.json", ".npy"):
        path.write_bytes(whole)
        rewrite(path, lambda name, content, lost=lost: None if name.endswith(lost) else content)
        with pytest.raises(ValueError, match="cannot be read"):
            skltransfer.load(path)
    skops.io.dump(StandardScaler(), path)
    with pytest.raises(ValueError, match=r"not written by skltransfer\.save"):
        skltransfer.load(path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        skltransfer.load(tmp_path / "nothing.skops")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        skltransfer.save(StandardScaler(), tmp_path / "nowhere" / "model.skops")


def test_a_later_format_names_the_version_that_wrote_it(tmp_path):
    path = saved(tmp_path)

    def change(name, content):
        if name != "skltransfer.json":
            return content
        return json.dumps(json.loads(content) | {"format": 99, "skltransfer": "7.1"})

    rewrite(path, change)
    with pytest.raises(ValueError, match=re.escape("skltransfer 7.1 in format 99")):
        skltransfer.load(path)


class Touch:
    """What a hostile pickle holds."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return touch, (self.path,)


def nodes_of(structure):
    """Return the descriptions of feature networks inside that of a network."""
    return [node for node in _nodes(structure) if "features" in node]


@pytest.mark.parametrize("place", ["child", "parameter", "buffer"])
def test_a_name_cannot_break_out_of_the_code_that_torch_makes_of_it(place, tmp_path):
    """torch.fx writes names of parts into code as they are: getattr(self, "NAME")."""
    trace = tmp_path / "trace"
    numbers = ",".join(str(byte) for byte in f"open({str(trace)!r}, 'w').close()".encode())
    name = f'training", exec(bytes([{numbers}])) or "'
    network = nn.Sequential(nn.Linear(64, 3), nn.Tanh())
    model = FineTunedClassifier(network, layers="0", **SHORT).fit(DIGITS, LABELS)
    path = skltransfer.save(model, tmp_path / "model.skops")

    def change(structure):
        for node in nodes_of(structure):
            node["nodes"] = [["0", "1"]]
            part = node["features"]
            if place == "child":
                part["children"][0][0] = name
            elif place == "parameter":
                part["children"][0][1]["tensors"][0][1] = name
            else:
                part["tensors"].append(["buffer", name, None, True])
        return structure

    hostile_structure(path, change)
    with pytest.raises(ValueError, match="is not a name of a part of a network"):
        skltransfer.load(path).predict(DIGITS)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("key", "is_nested"), [("attn_implementation", True), ("_attn_implementation", False)]
)
def test_settings_of_a_transformer_choose_no_code(key, is_nested, tmp_path):
    """transformers would download a kernel of that name, compiled code, and call it."""
    path = saved(tmp_path, MODELS["text"][0](tmp_path / "encoder"))

    def change(structure):
        described = [node["transformer"] for node in _nodes(structure) if "transformer" in node]
        assert described
        for node in described:
            inner = node["config"].setdefault("text_config", {}) if is_nested else node["config"]
            inner[key] = "someone/kernel"
        return structure

    hostile_structure(path, change)
    with pytest.raises(ValueError, match=f"choose code, by '{key}'"):
        skltransfer.load(path)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("text", {"vocab_size": 10**10}, "a larger network than the file holds"),
        ("text", {"num_hidden_layers": 10**9}, "more layers than the file holds"),
        ("timm", {"n_classes": 10**10}, "a larger network than the file holds"),
    ],
)
def test_a_network_larger_than_the_file_is_not_built(kind, settings, words, tmp_path):
    path = saved(tmp_path, MODELS[kind][0](tmp_path / "encoder"))

    def change(structure):
        for node in _nodes(structure):
            if "transformer" in node:
                node["transformer"]["config"].update(settings)
            if "timm" in node:
                node["timm"].update(settings)
        return structure

    hostile_structure(path, change)
    with pytest.raises(ValueError, match=f"model.skops cannot be read.*{words}"):
        skltransfer.load(path)


def test_only_files_are_read_and_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match="is a device or a pipe|is a folder"):
            skltransfer.load(path)
        with pytest.raises(OSError, match="is a device or a pipe|is a folder"):
            skltransfer.save(StandardScaler(), path)


def test_a_full_disk_is_named_and_leaves_the_file_before(tmp_path):
    path = saved(tmp_path, StandardScaler())
    before = path.read_bytes()
    model = StandardScaler().fit(DIGITS)
    with full_disk(500), pytest.raises(OSError, match="File too large") as raised:
        skltransfer.save(model, path)
    assert raised.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


def test_odd_names_of_parts_are_refused_at_save_and_usual_ones_kept(tmp_path):
    path = tmp_path / "model.skops"
    for name in ('a"', "a\n", "a(b)", "a\\b"):
        module = nn.ModuleDict({name: nn.Linear(2, 2)})
        with pytest.raises(TypeError, match=r"has a part named .* Rename it"):
            skltransfer.save(PretrainedFeatureTransformer(module), path)
    module = nn.ModuleDict(
        {"conv-1": nn.Linear(2, 2), "to x/y": nn.Linear(2, 2), "größe": nn.ReLU()}
    )
    twin = skltransfer.load(skltransfer.save(PretrainedFeatureTransformer(module), path))
    assert [name for name, _ in twin.backbone.named_children()] == ["conv-1", "to x/y", "größe"]


def npy(header: str, content: bytes) -> bytes:
    """Return a file of numpy with a header of one's own."""
    return (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + f"{header}\n".encode() + content
    )


def test_hostile_members_are_refused_and_nothing_in_them_is_run(tmp_path):
    path, trace = saved(tmp_path), tmp_path / "trace"
    members, code = members_of(path), pickle.dumps(Touch(str(trace)))
    arrays = {name: content for name, content in members.items() if name.endswith(".npy")}
    assert arrays
    header = "{{'descr': '{}', 'fortran_order': False, 'shape': ({},)}}"
    for content in (
        code,  # a pickle in the place of an array
        npy(header.format("|O", 1), code),  # an array of objects
        npy(header.format("<f8", 10**15), b""),  # more than any machine has
        npy(header.format("|u1", -5), b""),
        npy(header.format("|u1", 10**6), b"too short"),
    ):
        write_members(path, members | dict.fromkeys(arrays, content))
        with pytest.raises(ValueError, match="cannot be read"):
            skltransfer.load(path)
    for name, content in (
        ("skltransfer.json", b"[" * 200_000),  # deeper than Python's stack
        ("skltransfer.json", b"\xff\xfe"),
        ("schema.json", b"[" * 200_000),
        ("schema.json", b'{"a":' * 900 + b"1" + b"}" * 900),
        ("schema.json", code),
    ):
        write_members(path, members | {name: content})
        with pytest.raises(ValueError, match="cannot be read"):
            skltransfer.load(path)
    path.write_bytes(code)
    with pytest.raises(ValueError, match="cannot be read"):
        skltransfer.load(path)
    assert not trace.exists()


def test_a_compressed_file_is_not_unpacked(tmp_path):
    """`save` compresses nothing: a small file cannot grow into a large one in memory."""
    path = saved(tmp_path)
    members = members_of(path) | {"bomb.npy": bytes(10**7)}
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        write_members(path, members, compression=method)
        with pytest.raises(ValueError, match=r"not written by skltransfer\.save"):
            skltransfer.load(path)


def test_names_that_lead_out_of_the_folder_write_nothing(tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    path = saved(folder)
    members = members_of(path)
    write_members(path, members | {"../slip": b"x", str(tmp_path / "slip"): b"x"})
    skltransfer.load(path)  # members that nothing refers to are not looked at
    schema = members["schema.json"].decode()
    for name in (n for n in members if n.endswith(".npy")):
        schema = schema.replace(name, "../slip")
    write_members(path, members | {"schema.json": schema.encode(), "../slip": b"x"})
    with pytest.raises(ValueError, match="cannot be read"):
        skltransfer.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["inner"]
    assert [p.name for p in folder.iterdir()] == [path.name]


def test_flipped_bits_and_lost_ends_give_the_documented_errors(tmp_path):
    """Never another kind of error, and never an estimator that predicts something else."""
    rng = random.Random(0)
    model = FineTunedClassifier(hidden_layer_sizes=(2,), **SHORT).fit(DIGITS, LABELS)
    expected = model.predict_proba(DIGITS)
    whole = saved(tmp_path, model).read_bytes()
    path = tmp_path / "bad.skops"
    directory = whole.index(b"PK\x01\x02")
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(40)]
    for low in (0, directory):
        for _ in range(150):
            flipped = bytearray(whole)
            flipped[rng.randrange(low, len(whole))] ^= 1 << rng.randrange(8)
            damaged.append(bytes(flipped))
    n_refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            twin = skltransfer.load(path)
        except (ValueError, TypeError):
            n_refused += 1
        else:  # the bit says nothing, such as one of a date
            np.testing.assert_array_equal(twin.predict_proba(DIGITS), expected)
    assert n_refused > 200
