"""Text sets: captions in groups, files of lines, and errors."""

from __future__ import annotations

import ast
import hashlib
import pickle
from pathlib import Path

import pandas as pd
import pytest

from isomorph.stimuli import TextSet, as_stimuli, from_text_file, from_texts, group_order


def test_texts_keep_order_names_and_content() -> None:
    texts = from_texts(["a cat", "zwei Hunde\nim Schnee", "  spaced "])
    assert texts.ids == ("text-0", "text-1", "text-2")
    assert texts.kind == "text"
    assert [texts.load(i) for i in range(3)] == ["a cat", "zwei Hunde\nim Schnee", "  spaced "]
    assert texts.texts == tuple(texts.load(i) for i in range(3))
    assert as_stimuli(texts) is texts
    assert "3 texts" in repr(texts)
    named = from_texts(["x", "y"], ids=["p", "q"], groups=["g", "h"])
    assert isinstance(named.subset([1]), TextSet)
    assert named.subset([1]).load(0) == "y"
    assert named.subset([1]).groups == ("h",)
    assert pickle.loads(pickle.dumps(named)).texts == ("x", "y")  # noqa: S301  our own object


def test_hashes_are_of_the_bytes() -> None:
    texts = from_texts(["é", "e", "é"])
    expected = hashlib.blake2b("é".encode(), digest_size=16).hexdigest()
    assert texts.content_hashes()[0] == texts.content_hashes()[2] == expected
    assert texts.content_hashes()[1] != expected


def test_several_captions_of_one_image() -> None:
    texts = from_texts({"img1": ["a", "b"], "img2": ["c"], "img3": "d"})
    assert texts.ids == ("img1#0", "img1#1", "img2#0", "img3#0")
    assert texts.groups == ("img1", "img1", "img2", "img3")
    assert texts.texts == ("a", "b", "c", "d")
    single = from_texts({"img1": "a", "img2": "b"})
    assert single.ids == ("img1", "img2")
    assert single.groups is None
    with pytest.raises(ValueError, match="one or more texts for 'img2', got none"):
        from_texts({"img1": ["a"], "img2": []})
    with pytest.raises(ValueError, match="either a mapping.* got both"):
        from_texts({"img1": ["a"]}, ids=["x"])


def test_texts_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match=r"several texts, got one str\. Pass \[text\]"):
        from_texts("a cat")
    with pytest.raises(TypeError, match=r"expected str, got float \(nan\) at position 1"):
        from_texts(["a", float("nan")])
    with pytest.raises(ValueError, match=r"3 texts, but 2 are empty: text-0, text-2\. Leave"):
        from_texts(["", "a", " \t"])
    with pytest.raises(ValueError, match="got 1 ids for 2 texts"):
        from_texts(["a", "b"], ids=["x"])
    with pytest.raises(ValueError, match="expected one or more texts, got none"):
        from_texts([])


def test_a_file_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeffa cat\r\nein Käfer \x0c weiter\r\nlast".encode())
    assert from_text_file(path).texts == ("a cat", "ein Käfer \x0c weiter", "last")
    path.write_text("a\nb\n")
    assert from_text_file(path, ids=["x", "y"]).ids == ("x", "y")
    path.write_text("a\n\nb\n\n")
    with pytest.raises(ValueError, match=r"2 lines are empty: line 2, line 4\. Take them out"):
        from_text_file(path)
    path.write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"expected UTF-8 in .* at byte 3\. Save it"):
        from_text_file(path)
    with pytest.raises(FileNotFoundError, match="expected a text file at"):
        from_text_file(tmp_path / "none.txt")


def test_the_captions_of_nsd(data_folder: Path) -> None:
    frame = pd.read_csv(data_folder / "nsd_captions" / "shared1000.csv")
    parsed = [ast.literal_eval(cell) for cell in frame["coco_captions"]]
    captions = from_texts(dict(zip(frame["image_name"], parsed, strict=True)))
    assert len(captions) == sum(len(one) for one in parsed)
    names, index = group_order(captions.groups)
    assert names == tuple(frame["image_name"])
    for i in range(0, len(captions), 97):
        image, number = captions.ids[i].split("#")
        assert captions.groups[i] == image == names[index[i]]
        row = frame["image_name"].tolist().index(image)
        assert captions.load(i) == parsed[row][int(number)]
    assert len(set(captions.content_hashes())) == len(set(captions.texts))
