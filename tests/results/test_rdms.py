"""RDM files: exact to the last bit, rsatoolbox's and MATLAB's, and files that are broken."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import rsatoolbox
import scipy.io
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import calc_rdm, load_rdm
from scipy.spatial.distance import pdist, squareform

from isomorph.results import RDMStack, from_rsatoolbox, read_rdms, to_rsatoolbox, write_rdms

RNG = np.random.default_rng(0)
N = 7
STACK = np.stack([squareform(pdist(RNG.normal(size=(N, 5)))) for _ in range(3)])
STACK[1, 2, 4] = STACK[1, 4, 2] = np.nan
STACK[2] *= 1e-300  # denormal products of the numbers, not of their text
NAMES = ["cat", "dog", "Ürümqi", "a,b", "", "1", "owl"]
DESCRIPTORS = {"subj_id": ["s1", "é", "s3"], "age": [31, 40, 25], "r": [0.1, np.nan, 1e-17]}


def same(first: RDMStack, second: RDMStack) -> None:
    assert first.rdms.tobytes() == second.rdms.tobytes()
    assert first.stimuli == second.stimuli
    assert first.method == second.method
    for name in ("descriptors", "stimulus_descriptors"):
        ours, theirs = getattr(first, name), getattr(second, name)
        assert set(ours) == set(theirs)
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])
            assert [type(value) for value in ours[key]] == [type(v) for v in theirs[key]]


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".hdf5", ".NPZ"])
def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path, suffix: str) -> None:
    stack = RDMStack(STACK, NAMES, DESCRIPTORS, {"animal": [True, False] * 3 + [True]}, "euclidean")
    path = write_rdms(stack, tmp_path / "new" / f"rdms{suffix}")
    same(read_rdms(path), stack)
    assert sorted(path.parent.iterdir()) == [path]  # nothing temporary is left
    write_rdms(STACK[0], path)  # replaces the file
    same(read_rdms(path), RDMStack(STACK[0]))


def test_csv_is_exact_and_readable_by_others(tmp_path: Path) -> None:
    path = write_rdms(STACK[1], tmp_path / "one.csv", stimuli=NAMES)
    same(read_rdms(path), RDMStack(STACK[1], NAMES))
    frame = pd.read_csv(path, index_col=0, keep_default_na=False, na_values=["nan"])
    assert list(frame.columns)[:3] == ["cat", "dog", "Ürümqi"]
    np.testing.assert_allclose(frame.to_numpy(), STACK[1], rtol=1e-15)
    bare = tmp_path / "bare.csv"
    np.savetxt(bare, STACK[0], delimiter=",", fmt="%.17g")
    np.testing.assert_array_equal(read_rdms(bare).rdms[0], STACK[0])
    named = pd.DataFrame(STACK[0], index=list("abcdefg"), columns=list("abcdefg"))
    named.to_csv(tmp_path / "pandas.csv")
    assert read_rdms(tmp_path / "pandas.csv").stimuli == tuple("abcdefg")
    with pytest.raises(ValueError, match="holds one RDM, got 3"):
        write_rdms(STACK, path)
    with pytest.raises(ValueError, match="holds no subj_id"):
        write_rdms(STACK[:1], path, descriptors={"subj_id": ["s1"]})
    path.write_text("x,a,b\na,0,1\nc,1,0\n")
    with pytest.raises(ValueError, match="names of its rows and columns differ"):
        read_rdms(path)
    path.write_text("0,1\n1\n")
    with pytest.raises(ValueError, match="expected a square"):
        read_rdms(path)


def test_vectors_and_one_square_become_a_stack() -> None:
    vectors = RDMStack(STACK).vectors
    np.testing.assert_array_equal(RDMStack(vectors).rdms, STACK)
    assert RDMStack(STACK[0]).rdms.shape == (1, N, N)
    assert RDMStack(vectors[0]).rdms.shape == (1, N, N)
    assert RDMStack([[0, 5], [5, 0]]).vectors.tolist() == [[5.0]]
    given = STACK.copy()
    assert not np.shares_memory(RDMStack(given).rdms, given)


def test_to_and_from_rsatoolbox(tmp_path: Path) -> None:
    features = RNG.normal(size=(6, 9))
    theirs = calc_rdm(
        Dataset(features, obs_descriptors={"conds": [f"c{i}" for i in range(6)]}),
        method="correlation",
        descriptor="conds",
    )
    ours = from_rsatoolbox(theirs)
    assert ours.stimuli == tuple(f"c{i}" for i in range(6))
    assert ours.method == "correlation"
    np.testing.assert_array_equal(ours.rdms, theirs.get_matrices())
    back = to_rsatoolbox(ours)
    assert isinstance(back, rsatoolbox.rdm.RDMs)
    np.testing.assert_array_equal(back.dissimilarities, theirs.dissimilarities)
    assert list(back.pattern_descriptors["conds"]) == list(ours.stimuli)
    stack = RDMStack(STACK, [*"abcdefg"], {"subj_id": ["x", "y", "z"]}, {"size": range(7)}, "m")
    same(from_rsatoolbox(to_rsatoolbox(stack)), stack)
    # Files, both ways.
    back.save(str(tmp_path / "theirs.h5"))
    same(read_rdms(tmp_path / "theirs.h5"), ours)
    loaded = load_rdm(str(write_rdms(stack, tmp_path / "ours.h5")))
    np.testing.assert_array_equal(loaded.get_matrices(), STACK)
    assert list(loaded.pattern_descriptors["conds"]) == [*"abcdefg"]
    assert list(loaded.rdm_descriptors["subj_id"]) == ["x", "y", "z"]
    assert to_rsatoolbox(STACK).n_rdm == 3


def test_descriptors_of_a_whole_rsatoolbox_object_become_those_of_each_rdm() -> None:
    theirs = rsatoolbox.rdm.RDMs(RDMStack(STACK).vectors, descriptors={"session": "monday"})
    assert from_rsatoolbox(theirs).descriptors == {"session": ("monday",) * 3}


def test_matlab_files_of_the_92_images(data_folder: Path) -> None:
    folder = data_folder / "kriegeskorte92"
    brain = read_rdms(folder / "92_brainRDMs.mat")
    raw = scipy.io.loadmat(folder / "92_brainRDMs.mat")["RDMs"]
    assert brain.rdms.shape == (8, 92, 92)
    np.testing.assert_array_equal(brain.rdms[3], raw[0, 1, 1]["RDM"])
    assert brain.descriptors["name"][3] == str(raw[0, 1, 1]["name"][0])
    models = read_rdms(folder / "92_modelRDMs.mat")
    assert models.descriptors["name"][0] == "animacy"
    assert read_rdms(folder / "92_behavRDMs.mat").n_rdms == 16
    figure = read_rdms(folder / "Kriegeskorte_Neuron2008_supplementalData.mat")
    # The published figure's human RDM is the mean of the eight (a free check of the reading).
    mean = brain.vectors.mean(axis=0)
    assert np.corrcoef(mean, figure.vectors[1])[0, 1] > 0.999


@pytest.mark.parametrize("do_compression", [True, False])
def test_matlab_arrays(tmp_path: Path, do_compression: bool) -> None:
    path = tmp_path / "arrays.mat"
    matlab = np.moveaxis(STACK, 0, 2)
    scipy.io.savemat(path, {"rdms": matlab, "x": 3.0, "t": "abc"}, do_compression=do_compression)
    np.testing.assert_array_equal(read_rdms(path).rdms, STACK)
    scipy.io.savemat(path, {"first": STACK[0], "second": STACK[1]})
    with pytest.raises(ValueError, match="RDMs in first, second.*say variable="):
        read_rdms(path)
    np.testing.assert_array_equal(read_rdms(path, variable="second").rdms[0], STACK[1])
    with pytest.raises(ValueError, match="no variable 'third'; it has first, second"):
        read_rdms(path, variable="third")
    scipy.io.savemat(path, {"v": RDMStack(STACK).vectors[0]}, oned_as="column")
    np.testing.assert_array_equal(read_rdms(path, variable="v").rdms[0], STACK[0])
    with pytest.raises(ValueError, match="got none"):
        read_rdms(path)


def test_matlab_7_3_files(tmp_path: Path) -> None:
    """Written as MATLAB does: transposed, structs as groups of references."""
    path = tmp_path / "new.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["rdms"] = np.moveaxis(STACK, 0, 2).T
    np.testing.assert_array_equal(read_rdms(path).rdms, STACK)
    with h5py.File(path, "w") as file:
        refs = file.create_group("#refs#")
        group = file.create_group("RDMs")
        for field in ("RDM", "name"):
            made = group.create_dataset(field, (1, 3), dtype=h5py.ref_dtype)
            for i, name in enumerate(["one", "two", "3"]):
                text = np.array([[ord(letter)] for letter in name], dtype="u2")
                refs[f"{field}{i}"] = STACK[i].T if field == "RDM" else text
                made[0, i] = refs[f"{field}{i}"].ref
    found = read_rdms(path)
    np.testing.assert_array_equal(found.rdms, STACK)
    assert found.descriptors["name"] == ("one", "two", "3")
    with h5py.File(path, "w") as file:
        file.create_group("R")["RDM"] = STACK[0].T
    np.testing.assert_array_equal(read_rdms(path).rdms[0], STACK[0])


def test_bad_input_says_what_is_wrong(tmp_path: Path) -> None:
    lopsided = STACK[0].copy()
    lopsided[0, 1] += 0.1
    for bad, words in [
        (lopsided, "symmetric squares, got halves that differ"),
        (1 - STACK[0], "zero diagonal"),
        (np.zeros((4, 5)), r"vectors of n\(n − 1\)/2 pairs, got shape \(4, 5\)"),
        (np.zeros((2, 4, 5)), r"got shape \(2, 4, 5\)"),
        (np.zeros((0, 4, 4)), r"got shape \(0, 4, 4\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            write_rdms(bad, tmp_path / "a.npz")
    with pytest.raises(ValueError, match="7 different names of stimuli, got 2"):
        RDMStack(STACK, ["a", "b"])
    with pytest.raises(ValueError, match="7 different names of stimuli, got 7, 6 of them"):
        RDMStack(STACK, [*"abcdef", "a"])
    with pytest.raises(ValueError, match="'age' to have a value for each of 3 RDMs, got 2"):
        RDMStack(STACK, descriptors={"age": [1, 2]})
    with pytest.raises(ValueError, match="text, numbers or truths alone, got int, str"):
        RDMStack(STACK, descriptors={"age": [1, "2", 3]})
    with pytest.raises(ValueError, match="ends in .npz, .h5, .hdf5, .csv, got 'a.pkl'"):
        write_rdms(STACK, tmp_path / "a.pkl")
    with pytest.raises(ValueError, match="an RDMStack has its own names"):
        write_rdms(RDMStack(STACK), tmp_path / "a.npz", method="x")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_rdms(tmp_path / "none.npz")
    assert not list(tmp_path.iterdir())


def test_what_a_file_would_not_give_back_is_not_written(tmp_path: Path) -> None:
    for name in ("a/b", "", "."):
        stack = RDMStack(STACK, descriptors={name: [1, 2, 3]})
        with pytest.raises(ValueError, match="an HDF5 file holds no descriptor called"):
            write_rdms(stack, tmp_path / "a.h5")
        path = write_rdms(stack, tmp_path / "a.npz")
        assert read_rdms(path).descriptors == {name: (1, 2, 3)}
        path.unlink()
    stack = RDMStack(STACK, NAMES, stimulus_descriptors={"conds": range(N)})
    with pytest.raises(ValueError, match="no descriptor called 'conds'"):
        write_rdms(stack, tmp_path / "a.h5")
    with pytest.raises(ValueError, match="numbers below"):  # NumPy would pickle it
        RDMStack(STACK, descriptors={"age": [2**70, 1, 1]})
    for names in ({"stimuli": ["a\0", *NAMES[1:]]}, {"descriptors": {"x": ["a", "b", "c\0"]}}):
        with pytest.raises(ValueError, match="without NUL"):  # NumPy would cut it off
            RDMStack(STACK, **names)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".mat", ".csv"])
@pytest.mark.parametrize("content", [b"", b"PKxx", b"\x00" * 300])
def test_a_file_of_something_else_is_one_kind_of_error(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"some{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no RDMs that can be read") as caught:
        read_rdms(path)
    assert "pickle" not in str(caught.value)


def test_broken_and_foreign_files_are_refused(tmp_path: Path) -> None:
    for suffix in (".npz", ".h5", ".mat"):
        path = write_rdms(STACK, tmp_path / "whole.npz").rename(tmp_path / f"half{suffix}")
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(ValueError, match="no RDMs that can be read"):
            read_rdms(path)
    path = tmp_path / "pickled.npz"
    np.savez(path, dissimilarities=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_rdms(path)
    pickled = tmp_path / "rdms.pkl"
    pickled.write_bytes(pickle.dumps(STACK))
    with pytest.raises(ValueError, match="ends in .npz.*got 'rdms.pkl'"):
        read_rdms(pickled)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["responses"] = STACK
    with pytest.raises(ValueError, match="expected 'dissimilarities' in it, got responses"):
        read_rdms(tmp_path / "other.h5")
    with pytest.raises(ValueError, match="variable= is for MATLAB files"):
        read_rdms(tmp_path / "other.h5", variable="x")


def test_a_stack_stands_for_its_array_and_shows_itself_in_a_line():
    stack = RDMStack(np.ones((2, 3, 3)) - np.eye(3), descriptors={"name": ["V1", "IT"]})
    np.testing.assert_array_equal(np.asarray(stack), stack.rdms)
    assert list(stack.by_name()) == ["V1", "IT"]
    assert repr(stack) == "2 RDMs of 3 stimuli, described by name"
    unnamed = RDMStack(stack.rdms, descriptors={"name": ["V1", "V1"]})
    assert list(unnamed.by_name()) == ["rdm0", "rdm1"]
