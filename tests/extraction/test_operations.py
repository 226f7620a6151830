"""Operations that no module owns: against loops, hooks and the attention that models report."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from isomorph.extraction.operations import watch_operations

MODES = [torch.no_grad, torch.inference_mode]


@pytest.fixture(autouse=True)
def _no_fast_path():
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


@dataclass
class Seen:
    """An operation: its place, the tensor itself, and what it held when it was reported."""

    key: tuple[str, str, int]
    tensor: torch.Tensor
    value: torch.Tensor


def names_of(module: nn.Module) -> dict[nn.Module, str]:
    return {part: path for path, part in module.named_modules()}


def watched(module: nn.Module, *inputs: Any, mode=torch.no_grad, call=None) -> list[Seen]:
    """Run one pass and give what was reported, in order."""
    seen: list[Seen] = []

    def on_output(path, op, call, tensor):
        seen.append(Seen((path, op, call), tensor, tensor.clone()))

    module.eval()
    with mode(), watch_operations(module, names_of(module), on_output) as reset:
        reset()
        call(module, *inputs) if call else module(*inputs)
    return seen


def keys(module: nn.Module, *inputs: Any, **options: Any) -> list[tuple[str, str, int]]:
    return [seen.key for seen in watched(module, *inputs, **options)]


def randn(*shape: int, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cloned_outputs(module: nn.Module, *inputs: Any) -> dict[str, torch.Tensor]:
    """Clone the output of every module at its hook, and the input of each as ``path:in``."""
    held: dict[str, torch.Tensor] = {}

    def tap(path: str):
        def hook(_module, args, output):
            held[path] = output.clone()

        def before(_module, args):
            if args and isinstance(args[0], torch.Tensor):
                held[f"{path}:in"] = args[0].clone()

        return before, hook

    handles = []
    for part, path in names_of(module).items():
        before, hook = tap(path)
        handles += [part.register_forward_pre_hook(before), part.register_forward_hook(hook)]
    with torch.no_grad():
        module.eval()(*inputs)
    for handle in handles:
        handle.remove()
    return held


class Lambda(nn.Module):
    """A module with a child, so that what its function does belongs to no leaf."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.child = nn.Identity()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_resnet18_has_eight_residual_additions(mode):
    torch.manual_seed(0)
    model = torchvision.models.resnet18().eval()
    images = randn(3, 3, 64, 64)
    held = cloned_outputs(model, images)
    seen = watched(model, images, mode=mode)
    blocks = [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    assert [each.key for each in seen] == [(block, "add", 0) for block in blocks]
    for block, each in zip(blocks, seen, strict=True):
        identity = held.get(f"{block}.downsample", held[f"{block}:in"])
        assert torch.equal(each.value, held[f"{block}.bn2"] + identity)


class PreNorm(nn.Module):
    """A transformer block, by hand: attention over heads and a gated pair of linears."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        n, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, tokens, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def loop_linear(linear: nn.Linear, row: list[float]) -> list[float]:
    weight, bias = linear.weight.tolist(), linear.bias.tolist()
    return [
        sum(w * value for w, value in zip(weights, row, strict=True)) + b
        for weights, b in zip(weight, bias, strict=True)
    ]


def loop_norm(norm: nn.LayerNorm, row: list[float]) -> list[float]:
    mean = sum(row) / len(row)
    spread = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row) + norm.eps)
    return [
        (value - mean) / spread * w + b
        for value, w, b in zip(row, norm.weight.tolist(), norm.bias.tolist(), strict=True)
    ]


def loop_softmax(scores: list[float]) -> list[float]:
    exponentials = [math.exp(score) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def loop_block(block: PreNorm, x: list[list[float]]) -> dict[str, Any]:
    """The block for one stimulus, in plain Python."""
    width = len(x[0])
    size = width // block.heads
    qkv = [loop_linear(block.qkv, loop_norm(block.norm1, row)) for row in x]
    maps, mixed = [], [[0.0] * width for _ in x]
    for head in range(block.heads):
        at = head * size
        q, k, v = ([row[p * width + at : p * width + at + size] for row in qkv] for p in range(3))
        attention = [
            loop_softmax([sum(a * b for a, b in zip(i, j, strict=True)) / size**0.5 for j in k])
            for i in q
        ]
        maps.append(attention)
        for t, row in enumerate(attention):
            for d in range(size):
                mixed[t][at + d] = sum(p * v[s][d] for s, p in enumerate(row))
    first = [
        [a + b for a, b in zip(row, loop_linear(block.out, m), strict=True)]
        for row, m in zip(x, mixed, strict=True)
    ]
    up = [loop_linear(block.up, loop_norm(block.norm2, row)) for row in first]
    gelu = [[0.5 * u * (1 + math.erf(u / math.sqrt(2))) for u in row] for row in up]
    second = [
        [a + b for a, b in zip(row, loop_linear(block.down, g), strict=True)]
        for row, g in zip(first, gelu, strict=True)
    ]
    return {"softmax#0": maps, "add#0": first, "gelu#0": gelu, "add#1": second}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [0, 1])
def test_transformer_block_equals_a_loop(mode, seed):
    torch.manual_seed(seed)
    block = PreNorm(4, 2).double()
    x = randn(3, 5, 4, seed=seed, dtype=torch.float64)
    reported = watched(nn.Sequential(block), x, mode=mode)
    seen = {f"{each.key[1]}#{each.key[2]}": each for each in reported}
    assert " ".join(seen) == "mul#0 mul#1 matmul#0 softmax#0 matmul#1 add#0 gelu#0 add#1"
    assert {each.key[0] for each in seen.values()} == {"0"}
    for row, stimulus in enumerate(x.tolist()):
        for name, expected in loop_block(block, stimulus).items():
            expected = torch.tensor(expected, dtype=torch.float64)
            torch.testing.assert_close(seen[name].value[row], expected, rtol=1e-12, atol=1e-12)


def test_densenet_concatenations():
    torch.manual_seed(0)
    model = torchvision.models.DenseNet(8, (2, 3), 16, bn_size=2, num_classes=5)
    images = randn(2, 3, 32, 32)
    held = cloned_outputs(model, images)
    seen = {each.key: each.value for each in watched(model, images)}
    cats = [key for key in seen if key[1] == "cat"]
    assert len(cats) == 2 + 3 + 2  # in each dense layer, and at the end of each block
    for block, n_layers in ((1, 2), (2, 3)):
        path = f"features.denseblock{block}"
        parts = [held[f"{path}:in"]]
        for number in range(1, n_layers + 1):
            expected = torch.cat(parts, dim=1)
            assert torch.equal(seen[f"{path}.denselayer{number}", "cat", 0], expected)
            parts.append(held[f"{path}.denselayer{number}"])
        assert torch.equal(seen[path, "cat", 0], torch.cat(parts, dim=1))
    last = held["features"].clamp(min=0)
    assert torch.equal(seen["", "relu", 0], last)
    torch.testing.assert_close(
        seen["", "adaptive_avg_pool2d", 0], last.mean(dim=(2, 3), keepdim=True)
    )


def test_googlenet_concatenations():
    torch.manual_seed(0)
    model = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=False)
    images = randn(2, 3, 64, 64)
    held = cloned_outputs(model, images)
    cats = [each for each in watched(model, images) if each.key[1] == "cat"]
    assert len(cats) == 9
    for each in cats:
        branches = [held[f"{each.key[0]}.branch{number}"] for number in range(1, 5)]
        assert torch.equal(each.value, torch.cat(branches, dim=1))


def test_result_is_read_before_it_is_written_over():
    def forward(x):
        y = x + 1
        y.mul_(3)
        F.relu_(y)
        y += x
        return torch.add(y, 1, out=y)

    x = randn(2, 4)
    seen = watched(Lambda(forward), x)
    assert [each.key[1:] for each in seen] == [
        ("add", 0), ("mul", 0), ("relu", 0), ("add", 1), ("add", 2),
    ]  # fmt: skip
    steps = [x + 1, (x + 1) * 3, ((x + 1) * 3).clamp(min=0)]
    steps += [steps[-1] + x, (steps[-1] + x) + 1]
    for each, expected in zip(seen, steps, strict=True):
        assert torch.equal(each.value, expected)
    assert len({each.tensor.data_ptr() for each in seen}) == 1


def random_program(seed: int) -> tuple[Callable[..., Any], list[tuple[str, torch.Tensor]]]:
    """A function of random operations, and the list in which it notes what it computed."""
    noted: list[tuple[str, torch.Tensor]] = []
    computed = {
        "add": lambda a, b: a + b,
        "mul": lambda a, b: a.mul_(b.clone()),
        "sub": lambda a, b: 1 - a,
        "cat": lambda a, b: torch.cat([a[:, :2], b[:, 2:]], dim=1),
        "softmax": lambda a, b: a.softmax(dim=-1),
        "tanh": lambda a, b: F.tanh(a),
    }
    moved = [
        lambda a: a.T.contiguous().T,
        lambda a: a.flip(0),
        lambda a: a.roll(1, 0),
        lambda a: a[torch.arange(len(a))],
        lambda a: a.reshape(-1).view(a.shape),
        lambda a: a.clone().to(torch.float64).float(),
    ]

    def forward(x):
        generator = torch.Generator().manual_seed(seed)
        draw = lambda n: int(torch.randint(n, (), generator=generator))  # noqa: E731
        pool = [x.clone(), x.flip(1)]
        for _ in range(25):
            a, b = pool[draw(len(pool))], pool[draw(len(pool))]
            if draw(2):
                pool.append(moved[draw(len(moved))](a))
            else:
                name = list(computed)[draw(len(computed))]
                pool.append(computed[name](a, b))
                noted.append((name, pool[-1].clone()))
        return pool[-1]

    return forward, noted


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(5))
def test_random_programs(mode, seed):
    forward, noted = random_program(seed)
    seen = watched(Lambda(forward), randn(3, 4, seed=seed), mode=mode)
    assert len(noted) > 5
    assert [each.key[1] for each in seen] == [name for name, _ in noted]
    for each, (_, expected) in zip(seen, noted, strict=True):
        assert torch.equal(each.value, expected)
    counted: Counter[str] = Counter()
    for each in seen:
        assert each.key[2] == counted[each.key[1]]
        counted[each.key[1]] += 1


# --- attention maps ----------------------------------------------------------------------------


def softmaxes(seen: list[Seen]) -> list[torch.Tensor]:
    maps = [each.value for each in seen if each.key[1] == "softmax"]
    for values in maps:
        assert values.ndim == 4
        torch.testing.assert_close(values.sum(dim=-1), torch.ones(values.shape[:-1]))
    return maps


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_first", [False, True])
def test_multihead_attention_gives_its_map(mode, batch_first):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    x = randn(3, 5, 8)
    with torch.no_grad():
        _, expected = module(x, x, x, average_attn_weights=False)
    call = lambda module, x: module(x, x, x, need_weights=False)  # noqa: E731
    (found,) = softmaxes(watched(module, x, mode=mode, call=call))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", MODES)
def test_torchvision_vit_attention(mode):
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(32, 16, 2, 4, 32, 64).eval()
    images = randn(2, 3, 32, 32)
    held = cloned_inputs(model, nn.MultiheadAttention, images)
    seen = watched(model, images, mode=mode)
    maps = softmaxes(seen)
    assert len(maps) == 2
    for (attention, x), found in zip(held, maps, strict=True):
        assert found.shape == (2, 4, 5, 5)
        with torch.no_grad():
            _, expected = attention(x, x, x, average_attn_weights=False)
        torch.testing.assert_close(found, expected)
    block = "encoder.layers.encoder_layer_1"
    assert [each.key for each in seen if each.key[0] == block] == [
        (block, "add", 0),
        (block, "add", 1),
    ]


def cloned_inputs(module: nn.Module, kind: type, *inputs: Any) -> list[tuple[Any, torch.Tensor]]:
    held = []
    handles = [
        part.register_forward_pre_hook(lambda part, args: held.append((part, args[0].clone())))
        for part in module.modules()
        if isinstance(part, kind)
    ]
    with torch.no_grad():
        module(*inputs)
    for handle in handles:
        handle.remove()
    return held


@pytest.mark.parametrize("mode", MODES)
def test_timm_vit_attention(mode):
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=3).eval()
    images = randn(2, 3, 32, 32)
    plain = copy.deepcopy(model)
    for block in plain.blocks:
        assert block.attn.fused_attn
        block.attn.fused_attn = False  # the dropout after the softmax is a module: an oracle
    expected = [
        values for _, values in cloned_inputs(plain, nn.Dropout, images) if values.shape[-1] == 5
    ]
    seen = watched(model, images, mode=mode)
    maps = softmaxes(seen)
    assert [each.key for each in seen if each.key[1] == "softmax"] == [
        (f"blocks.{number}.attn", "softmax", 0) for number in range(2)
    ]
    for found, wanted in zip(maps, expected, strict=True):
        assert found.shape == (2, 3, 5, 5)
        torch.testing.assert_close(found, wanted)


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def bert(attention: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(**SMALL, vocab_size=50, attn_implementation=attention)
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 5:] = 0
    ids = torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(0))
    return transformers.BertModel(config), {"input_ids": ids, "attention_mask": mask}


def gpt2(attention: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=50, n_positions=16, bos_token_id=1,
        eos_token_id=2, attn_implementation=attention,
    )  # fmt: skip
    return transformers.GPT2Model(config), {"input_ids": bert("sdpa")[1]["input_ids"]}


def clip_vision(attention: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        **SMALL, image_size=32, patch_size=16, attn_implementation=attention
    )
    return transformers.CLIPVisionModel(config), {"pixel_values": randn(3, 3, 32, 32)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [bert, gpt2, clip_vision])
def test_transformers_sdpa_attention(mode, make):
    model, inputs = make("sdpa")
    eager, _ = make("eager")
    eager.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = eager.eval()(**inputs, output_attentions=True).attentions
    seen = watched(model, mode=mode, call=lambda module: module(**inputs))
    maps = softmaxes(seen)
    assert len(maps) == 2
    for found, wanted in zip(maps, expected, strict=True):
        assert found.shape == wanted.shape
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


# --- names -------------------------------------------------------------------------------------


def batches(*shape: int) -> list[torch.Tensor]:
    return [randn(n, *shape, seed=n) for n in (2, 3, 1)]


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: torchvision.models.VisionTransformer(32, 16, 2, 4, 32, 64), (3, 32, 32)),
        (
            lambda: torchvision.models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4]),
            (3, 32, 32),
        ),
        (lambda: torchvision.models.shufflenet_v2_x0_5(), (3, 32, 32)),
        (lambda: torchvision.models.efficientnet_v2_s(), (3, 32, 32)),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
        (lambda: Lambda(lambda x: F.linear(x.transpose(0, 1), torch.ones(4, 4))), (3, 4)),
        (lambda: Lambda(lambda x: x.transpose(1, 2) @ x.sum(dim=0)), (3, 4)),
    ],
)
def test_names_do_not_depend_on_batch_or_mode(make, shape):
    torch.manual_seed(0)
    module = make()
    found = [keys(module, batch, mode=mode) for batch in batches(*shape) for mode in MODES]
    assert found[0]
    assert all(names == found[0] for names in found)
    assert len(set(found[0])) == len(found[0])


def test_two_passes_give_the_same_names():
    module, seen = nn.Sequential(PreNorm(4, 2)).eval(), []
    report = lambda *args: seen.append(args[:3])  # noqa: E731
    with torch.no_grad(), watch_operations(module, names_of(module), report) as reset:
        for _ in range(2):
            reset()
            module(randn(2, 3, 4))
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]


X = randn(3, 4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: x.mm(x.T), "matmul"),
        (lambda x: torch.bmm(x[None], x.T[None]), "matmul"),
        (lambda x: torch.addmm(torch.ones(3), x, x.T), "matmul"),
        (lambda x: torch.baddbmm(torch.ones(1, 3, 3), x[None], x.T[None]), "matmul"),
        (lambda x: x[None] @ x.T, "matmul"),
        (lambda x: F.linear(x, torch.ones(2, 4), torch.ones(2)), "linear"),
        (lambda x: F.conv1d(x[None], torch.ones(2, 3, 1)), "conv"),
        (lambda x: F.conv2d(x[None, None], torch.ones(1, 1, 2, 2)), "conv"),
        (lambda x: F.conv_transpose2d(x[None, None], torch.ones(1, 1, 2, 2)), "conv_transpose"),
        (lambda x: F.layer_norm(x, (4,)), "layer_norm"),
        (lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)), "batch_norm"),
        (lambda x: F.group_norm(x, 2), "group_norm"),
        (lambda x: torch.native_layer_norm(x, (4,), None, None, 1e-5), "layer_norm"),
        (lambda x: F.gelu(x) * F.silu(x).sigmoid(), "gelu silu sigmoid mul"),
        (lambda x: F.hardswish(x, inplace=True), "hardswish"),
        (lambda x: F.softmax(x, dim=1), "softmax"),
        (lambda x: F.log_softmax(x, dim=1), "log_softmax"),
        (lambda x: F.normalize(x), "norm clamp div"),
        (lambda x: (1 - x) / 2 - x.mean(dim=1, keepdim=True), "sub div mean sub"),
        (lambda x: torch.stack([x, x]).max(dim=0).values, "stack max"),
        (lambda x: torch.var_mean(x, dim=1), "var_mean var_mean"),
        (lambda x: x.topk(2), "topk"),
        (lambda x: F.max_pool2d(x[None], 2), "max_pool2d"),
        (lambda x: F.max_pool2d(x[None], 2, return_indices=True), "max_pool2d"),
        (lambda x: F.adaptive_avg_pool2d(x[None], 1), "adaptive_avg_pool2d"),
        (lambda x: F.interpolate(x[None], scale_factor=2.0), "interpolate"),
        (lambda x: F.interpolate(x[None, None], size=(5, 5), mode="bilinear"), "interpolate"),
        (lambda x: torch.einsum("ij,kj->ik", x, x), "einsum"),
        (lambda x: x.masked_fill(x > 0, 0.0), "masked_fill"),
        (lambda x: torch.fft.rfft(x), "fft_rfft"),
        (lambda x: F.embedding(torch.tensor([0, 2]), x), "embedding"),
        (lambda x: x.double() + 1, "add"),
        (lambda x: torch.vmap(lambda row: row * 2)(x), "mul"),
    ],
)
def test_names_of_operations(mode, function, names):
    found = keys(Lambda(function), X.clone(), mode=mode)
    assert [op for _, op, _ in found] == names.split()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.view(-1).reshape(4, 3).T.unsqueeze(0).expand(2, 3, 4).flatten(),
        lambda x: [*x.unbind(), *x.chunk(2), *x.split(1, dim=1), x[1:], x[..., 0], x.detach()],
        lambda x: [x.contiguous(), x.T.contiguous(), x.clone(), x.double(), x.to(torch.bfloat16)],
        lambda x: x.T.reshape(-1),
        lambda x: torch.empty(3, 4).copy_(x),
        lambda x: [torch.arange(3.0), torch.zeros(3), torch.full((2,), 1.0), torch.eye(3)],
        lambda x: [torch.zeros_like(x), x.new_ones(3), torch.empty_like(x).fill_(2).zero_()],
        lambda x: [x > 0, x.argmax(dim=1), x.argsort(), torch.arange(4) + 1, x.isnan().any()],
        lambda x: [torch.rand_like(x), torch.randn(3), x.clone().normal_(), F.dropout(x)],
        lambda x: F.dropout(x, training=False),
        lambda x: [x[torch.tensor([2, 0])], x.index_select(0, torch.tensor([1])), x.roll(1, 0)],
        lambda x: [
            x.flip(0),
            x.repeat(2, 1),
            F.pad(x, (1, 1)),
            F.pixel_shuffle(x[None, :, None].expand(1, 3, 4, 4).reshape(1, 4, 3, 4), 2),
        ],
        lambda x: x[:0] + 1,
        lambda x: x.clone().unsqueeze_(0).transpose_(0, 1).squeeze_(1),
        lambda x: x.clone().as_strided_((4, 3), (1, 4)).resize_(3, 4),
        lambda x: torch.tensor([1.0, 2.0]),
    ],
)
def test_left_out(mode, function):
    assert keys(Lambda(function), X.clone(), mode=mode) == []


class Cell(nn.Module):
    """A recurrent cell: no module owns its sum."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.state = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, h):
        return torch.tanh(self.inputs(x) + self.state(h))


class Recurrent(nn.Module):
    """A shared cell, and outputs in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()
        self.again = self.cell

    def forward(self, x):
        h = torch.zeros_like(x[:, 0])
        for step in range(x.shape[1]):
            h = (self.again if step % 2 else self.cell)(x[:, step], h)
        return {"state": h, "scaled": h * 2}


def test_calls_are_counted_over_a_shared_module():
    found = keys(Recurrent(), randn(2, 3, 4))
    steps = [("cell", op, step) for step in range(3) for op in ("add", "tanh")]
    assert found == [*steps, ("", "mul", 0)]


class OwnLeaf(nn.Module):
    """No children: what it gives is a layer, what it does on the way is its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return F.relu(x * self.weight) + x


def test_leaves_are_not_looked_into():
    assert keys(OwnLeaf(), randn(2, 4)) == []
    assert keys(nn.Sequential(OwnLeaf(), nn.GELU(), nn.Linear(4, 4)), randn(2, 4)) == []
    assert keys(nn.Sequential(nn.LSTM(4, 4, batch_first=True)), randn(2, 3, 4)) == []


def test_operations_outside_every_call_are_the_callers():
    module = nn.Sequential(PreNorm(4, 2))
    x = randn(2, 3, 4)
    found = keys(module, x, call=lambda module, x: module(x * 2) + 1)
    assert found == keys(module, x)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_module():
    with torch.no_grad():
        scripted = torch.jit.trace(Recurrent().cell, (X, X))
        frozen = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    assert [op for _, op, _ in keys(scripted, X, X)] == ["linear", "linear", "add", "tanh"]
    assert keys(nn.Sequential(frozen), X) == [("", "linear", 0), ("", "relu", 0)]
    with pytest.raises(
        ValueError, match=r"root: .* got a scripted one \(Sequential\)\. Give the module"
    ):
        keys(frozen, X)


def test_compiled_module():
    module = torch.compile(Recurrent(), backend="eager")
    found = keys(module, randn(2, 2, 4))
    assert found[0] == ("_orig_mod.cell", "add", 0)
    assert found[-1] == ("_orig_mod", "mul", 0)


# --- identity ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("in_place", [False, True])
def test_the_tensor_that_a_module_returns_is_the_one_reported(mode, in_place):
    def forward(x):
        y = x * 2
        if in_place:
            y += x
            return y
        return y + x

    module = Lambda(forward).eval()
    reported, returned = [], []

    def version(tensor):
        return None if tensor.is_inference() else tensor._version

    module.register_forward_hook(lambda _m, _a, out: returned.append((out, version(out))))
    report = lambda path, op, call, t: reported.append((t, version(t)))  # noqa: E731
    with mode(), watch_operations(module, names_of(module), report) as reset:
        reset()
        module(randn(2, 4))
    assert reported[-1][0] is returned[0][0]
    # The survey takes a tensor whose version went up for one that was overwritten.
    assert reported[-1][1] == returned[0][1]
    assert (reported[0][0] is reported[1][0]) == in_place
    if in_place and mode is torch.no_grad:
        assert [version for _, version in reported] == [0, 1]


@pytest.mark.parametrize("mode", MODES)
def test_the_model_computes_what_it_did_before(mode):
    torch.manual_seed(0)
    model = torchvision.models.resnet18().eval()
    images = randn(2, 3, 64, 64)
    with mode():
        expected = model(images)
        with watch_operations(model, names_of(model), lambda *_: None) as reset:
            reset()
            found = model(images)
    assert torch.equal(found, expected)


# --- hooks and errors --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_what_hooks_and_the_report_compute_is_not_the_models(mode):
    module = nn.Sequential(PreNorm(4, 2), nn.Sequential(nn.Linear(4, 4)))
    x = randn(2, 3, 4)
    expected = keys(module, x, mode=mode)

    def compute(*given):
        (given[-1].mean() * 2).relu()

    for part in module.modules():
        part.register_forward_hook(compute)
    found = []

    def on_output(path, op, call, tensor):
        found.append((path, op, call))
        (tensor.mean() * 2).relu()

    with mode(), watch_operations(module, names_of(module), on_output) as reset:
        reset()
        module(x)
    assert found == expected


def test_hooks_that_compute_a_leafs_weight_are_inside_it():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[0].register_forward_pre_hook(lambda _m, args: (args[0] * 2,))
    assert keys(nn.Sequential(module), X) == []


class Stop(BaseException):
    """As a pass is ended after its last layer."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [ValueError, Stop])
@pytest.mark.parametrize("op", ["softmax", "add"])
def test_an_error_of_the_report_ends_the_pass(mode, error, op):
    module = nn.Sequential(PreNorm(4, 2)).eval()
    x = randn(2, 3, 4)
    found, stopped = [], [True]

    def on_output(path, name, call, tensor):
        found.append((path, name, call))
        if name == op and stopped[0]:
            raise error("enough")

    with mode(), watch_operations(module, names_of(module), on_output) as reset:
        reset()
        with pytest.raises(error, match="enough"):
            module(x)
        assert found[-1] == ("0", op, 0)
        found.clear()
        stopped[0] = False
        reset()
        module(x * 1.0)  # outside every module again, also where the pass was left in the middle
    assert found == keys(module, x)


def test_an_error_of_another_hook_ends_the_pass():
    module, found = nn.Sequential(Lambda(lambda x: x * 2), PreNorm(4, 2)).eval(), []
    x = randn(2, 3, 4)

    def stop(*_):
        raise Stop

    handle = module[0].register_forward_hook(stop)
    report = lambda *args: found.append(args[:3])  # noqa: E731
    with torch.no_grad(), watch_operations(module, names_of(module), report) as reset:
        reset()
        with pytest.raises(Stop):
            module(x)
        assert found == [("0", "mul", 0)]
        found.clear()
        handle.remove()
        reset()
        module(x)
    assert found == keys(module, x)


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = Lambda(self.fail)

    @staticmethod
    def fail(x):
        raise RuntimeError("no such thing")

    def forward(self, x):
        try:
            x = self.part(x + 1)
        except RuntimeError:
            x = x * 2
        return x


def test_an_error_that_the_model_catches_leaves_the_place_right():
    assert keys(Failing(), X) == [("", "add", 0), ("", "mul", 0)]


@pytest.mark.parametrize("where", ["nowhere", "model", "report", "block"])
def test_nothing_is_left_behind(where):
    module = nn.Sequential(PreNorm(4, 2), Lambda(lambda x: x @ x))  # (2, 3, 4): shapes misfit
    if where != "model":
        module = module[:1]
    flags = [torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()]

    def on_output(*_):
        if where == "report":
            raise RuntimeError("from the report")

    expected = nullcontext() if where == "nowhere" else pytest.raises(RuntimeError)
    with expected, torch.no_grad(), watch_operations(module, names_of(module), on_output) as reset:
        reset()
        module(randn(2, 3, 4))
        if where == "block":
            raise RuntimeError("in the block")
    for part in module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part._forward_hooks_always_called
    assert _get_current_dispatch_mode() is None
    assert flags == [
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
    ]
    linear = nn.Linear(4, 4)
    linear(X).sum().backward()  # gradients are recorded again
    assert linear.weight.grad is not None


def test_a_module_without_a_path_is_an_error():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    names = {module: "", module[0]: "0"}
    message = (
        r"names: expected the path of every module, got none for 1 of Sequential's \(first 1\)"
    )
    with pytest.raises(ValueError, match=message), watch_operations(module, names, print):
        pass
    assert not module._forward_hooks


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_cuda_gives_the_operations_of_the_cpu(mode):
    torch.manual_seed(0)
    for model in (
        torchvision.models.VisionTransformer(32, 16, 2, 4, 32, 64),
        torchvision.models.resnet18(),
    ):
        images = randn(2, 3, 32, 32)
        on_cpu = watched(model, images, mode=mode)
        on_cuda = watched(model.cuda(), images.cuda(), mode=mode)
        assert [each.key for each in on_cuda] == [each.key for each in on_cpu]
        for found, expected in zip(on_cuda, on_cpu, strict=True):
            torch.testing.assert_close(found.value.cpu(), expected.value, rtol=1e-2, atol=1e-2)
