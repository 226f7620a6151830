"""From a model and its stimuli to a plan with passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from isomorph.extraction.inputs import Inputs
from isomorph.extraction.layer import Layer
from isomorph.extraction.memory import MemoryLimit, memory_budget
from isomorph.extraction.model import Model
from isomorph.extraction.needs import FeaturesNeed, Need, held_bytes
from isomorph.extraction.plan import Plan
from isomorph.extraction.selection import LayersAsked
from isomorph.extraction.stream import RunSettings
from isomorph.extraction.survey import SURVEY_SIZES, survey_model


def survey_inputs(
    model: Model,
    inputs: Inputs,
    settings: RunSettings,
    *,
    input_dim: int | Mapping[str, int] | None = None,
) -> Plan:
    """Survey a model with a few stimuli from all over the set."""
    return survey_model(
        model,
        inputs.spread(2 * max(SURVEY_SIZES)),
        device=settings.device,
        input_dim=input_dim,
        ops=settings.ops,
        precision=settings.precision,
        channels_last=settings.channels_last,
    )


def chosen_layers(plan: Plan, layers: LayersAsked) -> tuple[Layer, ...]:
    """Choose layers, and refuse to choose none.

    Raises
    ------
    ValueError
        If nothing was asked for, or nothing can be read; gives the reasons.
    """
    chosen = plan.select(layers)
    if not chosen:
        left_out = "; ".join(f"{item.name}: {item.left_out}" for item in plan.layers[:3])
        raise ValueError(
            f"layers: expected one or more of {plan.model_uid}, got none. "
            + (f"None can be read ({left_out})." if not plan.distinct else "Leave layers= out.")
        )
    return chosen


def make_plan(
    model: Model,
    inputs: Inputs,
    *,
    layers: LayersAsked = None,
    needs: Sequence[Need] = (FeaturesNeed(),),
    memory_limit: MemoryLimit = None,
    device: torch.device,
    spill: bool = False,
) -> Plan:
    """Survey the model with the first stimuli and schedule its passes.

    Parameters
    ----------
    model, inputs
        What to run, and over what.
    layers
        Which layers (`Plan.select`); None is every distinct one.
    needs : sequence of Need
        What will be asked of each layer; it decides what must be held.
    memory_limit : int, float, str or None
        Bytes (or ``"12MB"``, or a share) that the maps of one pass may take. A layer that alone
        exceeds it is held in a file.
    device : torch.device
        Where to run.
    spill : bool
        Read all layers in one pass, and hold in files those that do not fit together.

    Returns
    -------
    Plan
        With its passes.
    """
    plan = survey_inputs(model, inputs, RunSettings(device))
    budget = memory_budget(memory_limit, device)
    planned = _schedule(plan, chosen_layers(plan, layers), needs, len(inputs), budget)
    return planned.in_one_pass() if spill else planned


def read_apart(plan: Plan, layer: Layer, needs: Sequence[Need]) -> Plan:
    """Mend a plan in which a layer was taken for a duplicate: read it too, on its own.

    Parameters
    ----------
    plan : Plan
        With its passes.
    layer : Layer
        From a `FalseDuplicateError`.
    needs : sequence of Need
        As the plan was made with.
    """
    scheduled = {item.name for item in plan.read()}
    mended = plan.promoted(layer.name)
    chosen = [item for item in mended.distinct if item.name in scheduled | {layer.name}]
    planned = _schedule(mended, chosen, needs, plan.n_stimuli, plan.memory_limit)
    one = len(plan.passes) == 1 and any(part.spilled for part in plan.passes[0])
    return planned.in_one_pass() if one else planned


def _schedule(
    plan: Plan, chosen: Sequence[Layer], needs: Sequence[Need], n_stimuli: int, budget: int
) -> Plan:
    sizes = [held_bytes(needs, n_stimuli, layer) for layer in chosen]
    return plan.scheduled(chosen, sizes, n_stimuli=n_stimuli, memory_limit=budget, oversize="spill")
