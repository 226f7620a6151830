"""Texts: padding never enters what is kept, whatever the tokenizer gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from isomorph.extraction import Model, extract_features
from isomorph.extraction.batches import PADDING_MASK, PLAIN, Step, fresh_on
from isomorph.stimuli import from_texts

TEXTS = ["abc", "abcdefgh", "a", "hello"]
HOW = {
    "cls": lambda rows: rows[0],
    "last": lambda rows: rows[-1],
    "mean": lambda rows: rows.mean(axis=0),
    "max": lambda rows: rows.max(axis=0),
    "patches": lambda rows: rows[1:].mean(axis=0) if len(rows) > 1 else rows[0] * 0,
}


def letters(text):
    return [ord(letter) % 19 + 1 for letter in text]


class Plain(nn.Module):
    """Takes one tensor of token ids, and nothing else."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(21, 5)

    def forward(self, ids):
        assert isinstance(ids, torch.Tensor)
        return self.embed(ids)


class Named(Plain):
    def forward(self, input_ids):
        return self.embed(input_ids)


class Masked(Plain):
    def forward(self, input_ids, attention_mask):
        assert attention_mask.shape == input_ids.shape
        return self.embed(input_ids)


class LeftPadded:
    pad_token_id = 20
    padding_side = "left"

    def __call__(self, text):
        return letters(text)


def named(text):
    return {"input_ids": letters(text)}


CASES = {
    "plain lists": (Plain, letters),
    "plain lists, left": (Plain, LeftPadded()),
    "named, no mask taken": (Named, named),
    "named, mask taken": (Masked, named),
}


def extract(module, tokenizer, texts, **options):
    options = {"progress": False, "device": "cpu", "output": "numpy"} | options
    return extract_features(Model(module, tokenizer), from_texts(texts), **options)


@pytest.mark.parametrize("how", list(HOW))
@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("batch_size", [3, 64])
def test_what_is_kept_of_a_text_is_of_its_own_tokens(case, how, batch_size):
    torch.manual_seed(0)
    kind, tokenizer = CASES[case]
    module = kind()
    found = extract(module, tokenizer, TEXTS, tokens=how, batch_size=batch_size)["embed"]
    table = module.embed.weight.detach().double().numpy()
    expected = np.stack([HOW[how](table[letters(text)]) for text in TEXTS])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    pooled = extract(module, tokenizer, TEXTS, pool="mean", batch_size=batch_size)["embed"]
    expected = np.stack([table[letters(text)].mean(axis=0) for text in TEXTS])
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_the_whole_maps_of_plain_lists_are_as_long_as_the_longest():
    torch.manual_seed(0)
    module = Plain()
    whole = extract(module, LeftPadded(), TEXTS)["embed"]
    assert whole.shape == (4, 8, 5)
    table = module.embed.weight.detach().numpy()
    np.testing.assert_array_equal(whole[0], table[[20] * 5 + letters("abc")])


class Prefixed(Masked):
    """Puts a token in front of the others: no mask is of that length."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(5, 5)
        self.out = nn.Linear(5, 5)

    def forward(self, input_ids, attention_mask=None):
        rows = self.embed(input_ids)
        return self.out(self.mix(torch.cat([rows[:, :1], rows], dim=1)))


def test_a_mask_that_does_not_fit_is_said_once(caplog):
    extract(Prefixed(), named, TEXTS, tokens="mean", batch_size=2)
    said = [r.getMessage() for r in caplog.records if "the mask" in r.getMessage()]
    assert len(said) == 1
    assert "layer mix has 9 tokens, and the mask 8: padding cannot be told" in said[0]


def test_a_mask_that_does_not_fit_is_no_matter_without_padding_or_choice(caplog):
    def masked(text):
        return named(text) | {"attention_mask": [1] * len(text)}

    extract(Prefixed(), masked, ["abcd", "efgh", "ijkl"], tokens="mean")
    extract(Prefixed(), named, TEXTS)
    assert "the mask" not in caplog.text


def test_the_model_is_not_given_what_is_for_reductions():
    ids, mask = torch.ones(4, 3, dtype=torch.long), torch.ones(4, 3)
    step = Step({PLAIN: ids, PADDING_MASK: mask}, 0)
    cpu = torch.device("cpu")
    given = fresh_on(step.inputs, cpu)
    assert isinstance(given, torch.Tensor)
    assert torch.equal(given, ids)
    assert step.n_stimuli == 4
    assert torch.equal(step.mask, mask)
    assert [half.mask.shape for half in step.halves()] == [(2, 3), (2, 3)]
    assert set(fresh_on({"input_ids": ids, PADDING_MASK: mask}, cpu)) == {"input_ids"}


class Embedded(nn.Module):
    """A toy language model: embedded tokens, and a mask that it need not use."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)

    def forward(self, input_ids, attention_mask):
        embedded = self.embed(input_ids)
        # What stands at the padding must not matter, not even NaN.
        return torch.where(attention_mask[..., None].bool(), embedded, torch.nan)


@pytest.mark.parametrize("left", [False, True])
def test_tokens_are_chosen_under_the_mask(left):
    torch.manual_seed(1)
    ids = torch.randint(0, 11, (4, 6))
    mask = torch.zeros(4, 6, dtype=torch.long)
    for row, length in enumerate((6, 3, 1, 4)):
        mask[row, 6 - length :] = 1 if left else 0
        mask[row, :length] = mask[row, :length] if left else 1
    model = Model(Embedded())
    batch = {"input_ids": ids, "attention_mask": mask}
    table = model.module.embed.weight.detach().double().numpy()
    kept = [table[ids[row][mask[row].bool()].numpy()] for row in range(4)]
    oracles = {
        "mean": np.stack([rows.mean(axis=0) for rows in kept]),
        "max": np.stack([rows.max(axis=0) for rows in kept]),
        "last": np.stack([rows[-1] for rows in kept]),
    }
    for how, expected in oracles.items():
        found = extract_features(
            model, batch, "embed", tokens=how, progress=False, batch_size=3, output="numpy"
        )
        np.testing.assert_allclose(found["embed"], expected, rtol=1e-5, atol=1e-6)
