"""Outputs taken apart, and the batch axis found rather than assumed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from isomorph.extraction.outputs import BatchAxis, find_batch_axis, layer_name, leaves


@dataclass
class Output:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    loss: None = None


def test_leaves_of_nested_outputs_are_named_by_place():
    one = torch.ones(1)
    nested = (one, {"attn": one, "more": [one]}, Output(one, (one, one)), None, 3)
    assert [place for place, _ in leaves(nested)] == [
        "[0]",
        "[1][attn]",
        "[1][more][0]",
        "[2][logits]",
        "[2][hidden][0]",
        "[2][hidden][1]",
    ]


def test_names_show_call_and_leaf():
    assert layer_name("layer1.0.relu", 0, "") == "layer1.0.relu"
    assert layer_name("layer1.0.relu", 1, "[0]") == "layer1.0.relu#1[0]"
    assert layer_name("", 0, "") == "(root)"


def stimuli(n: int, *shape: int) -> torch.Tensor:
    """Distinct values for each stimulus, the same for the first ones whatever n."""
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in range(n)]
    )


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_axis_that_grew_is_found_wherever_it_is(axis):
    small, large = (stimuli(n, 5, 3, 4).movedim(0, axis) for n in (2, 3))
    found = find_batch_axis(small, large, 2, 3)
    assert found == BatchAxis(axis)
    assert torch.equal(found.stimuli_leading(large), stimuli(3, 5, 3, 4))


def test_windows_with_the_batch_outermost_are_taken_apart():
    small, large = (stimuli(n, 6, 4).flatten(0, 1) for n in (2, 3))  # (n × 6 windows, 4)
    found = find_batch_axis(small, large, 2, 3)
    assert found == BatchAxis(0, factor=6, stimuli_first=True)
    assert torch.equal(found.stimuli_leading(large), stimuli(3, 6, 4))


def test_windows_with_the_batch_innermost_are_taken_apart():
    small, large = (stimuli(n, 6, 4).movedim(0, 1).flatten(0, 1) for n in (2, 3))
    found = find_batch_axis(small, large, 2, 3)
    assert found == BatchAxis(0, factor=6, stimuli_first=False)
    assert torch.equal(found.stimuli_leading(large), stimuli(3, 6, 4))


@pytest.mark.parametrize(
    ("small", "large", "reason"),
    [
        (torch.ones(4, 4), torch.ones(4, 4), "does not scale with the batch"),
        (torch.tensor(1.0), torch.tensor(2.0), "does not scale with the batch"),
        (stimuli(2, 2), torch.ones(3, 3), "more than one axis"),
        (torch.ones(5, 2), torch.ones(6, 2), "not in proportion"),
        (stimuli(2, 4), torch.randn(3, 4), "values change with its batch"),
    ],
)
def test_outputs_without_a_batch_axis_say_why(small, large, reason):
    found = find_batch_axis(small, large, 2, 3)
    assert isinstance(found, str)
    assert reason in found
