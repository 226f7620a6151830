"""Results tables as files."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isomorph.results import (
    make_neuroid_results,
    make_results,
    read_results,
    select_layers,
    write_results,
)


def table():
    rng = np.random.default_rng(3)
    rows = [
        {
            "model_uid": "torchvision/squeezenet1_0@file-1a2b3c4d",
            "model_layer": f"features.{layer}",
            "model_layer_index": layer,
            "metric": "cRSA[compare=spearman]",
            "benchmark": "mine, with a comma",
            "region": region,
            "subj_id": subject,
            "cv_split": split,
            "score": rng.normal() if layer else np.nan,
            "n_stimuli": 320,
            "n_neuroids": None if region == "NA" else 50,
            "reason": None if layer else 'said "constant"',
            "ed": rng.exponential(),
        }
        for layer in range(3)
        for region in ("NA", "V4")
        for subject in ("01", "group")
        for split in ("train", "test")
    ]
    return make_results(rows, ["ed"])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("kind", ["results", "chosen", "neuroids"])
def test_what_is_read_is_what_was_written(tmp_path, suffix, kind):
    frame = table()
    if kind == "chosen":
        frame = select_layers(frame)
    if kind == "neuroids":
        row = frame[list(frame.columns[:9])].iloc[0].to_dict()
        frame = make_neuroid_results(
            [row | {"neuroid_id": ["007", "NA"], "score": [1 / 3, np.nan]}]
        )
    path = write_results(frame, tmp_path / "new" / f"results{suffix}")
    pd.testing.assert_frame_equal(read_results(path), frame, check_exact=True)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_parquet_holds_the_schema_version(tmp_path):
    path = write_results(table(), tmp_path / "r.parquet")
    assert json.loads(pq.read_schema(path).metadata[b"isomorph"]) == {"schema": 1}
    later = pq.read_table(path).replace_schema_metadata({b"isomorph": b'{"schema": 99}'})
    pq.write_table(later, path)
    with pytest.raises(ValueError, match=r"r.parquet: its schema is version 99.*Update isomorph"):
        read_results(path)


def test_bad_files(tmp_path):
    frame = table()
    with pytest.raises(ValueError, match=r"ends in .parquet or .csv, got 'results.xlsx'"):
        write_results(frame, tmp_path / "results.xlsx")
    with pytest.raises(ValueError, match=r"missing the column region"):
        write_results(frame.drop(columns="region"), tmp_path / "results.csv")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match=r"no file .*gone.csv. Check the path"):
        read_results(tmp_path / "gone.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(ValueError, match=r"broken.parquet: not a parquet file that can be read"):
        read_results(tmp_path / "broken.parquet")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other.csv: results: missing the columns model_uid"):
        read_results(tmp_path / "other.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match=r"empty.csv: results: missing.*got no columns"):
        read_results(tmp_path / "empty.csv")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"missing the columns model_uid"):
        read_results(tmp_path / "other.parquet")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_results(table(), tmp_path / "r.parquet")
    before = path.read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match=r"disk full"):
        write_results(table(), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
