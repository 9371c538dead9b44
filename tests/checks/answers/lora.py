"""Right answers to the LoRA lab, of other make-ups than ours."""

import math

import torch
import torch.nn.functional as F
from torch import nn

# --- LoRALinear ---------------------------------------------------------------------------------


class LoRALinear(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        base.requires_grad_(False)
        self.base = base
        self.scale = alpha / r
        self.merged = False
        where = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.A = nn.Parameter(torch.empty(r, base.in_features, **where))
        self.B = nn.Parameter(torch.zeros(base.out_features, r, **where))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, x):
        y = self.base(x)
        if not self.merged:
            y = y + F.linear(F.linear(x, self.A), self.B) * self.scale
        return y


class WithDelta(nn.Module):
    """Through W + ΔW as a matrix."""

    def __init__(self, base, r, alpha):
        super().__init__()
        self.r, self.alpha = r, alpha
        self.B = nn.Parameter(base.weight.new_zeros(base.out_features, r))
        self.A = nn.Parameter(0.02 * torch.randn_like(base.weight[:1].expand(r, -1)))
        self.base, self.merged = base, False
        for p in self.base.parameters():
            p.requires_grad = False

    @property
    def scale(self):
        return self.alpha / self.r

    def forward(self, x):
        weight = self.base.weight
        if not self.merged:
            weight = weight + self.scale * self.B @ self.A
        return F.linear(x, weight, self.base.bias)


class WithEinsum(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        out_features, in_features = base.weight.shape
        A = torch.rand(r, in_features) - 0.5
        self.A = nn.Parameter(A.to(base.weight))
        self.B = nn.Parameter(torch.zeros(out_features, r).to(base.weight))
        self.base = base
        self.base.weight.requires_grad = False
        if self.base.bias is not None:
            self.base.bias.requires_grad = False
        self.scale, self.merged, self.dropout = alpha / r, False, nn.Dropout(0.0)

    def forward(self, inputs):
        if self.merged:
            return self.base(inputs)
        update = torch.einsum("or,ri,...i->...o", self.B, self.A, self.dropout(inputs))
        return self.base(inputs) + self.scale * update


class InFloat64(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        A = torch.randn(r, base.in_features, dtype=torch.float64)
        A = (A / r).to(base.weight.dtype).to(base.weight.device)
        self.A = nn.Parameter(A, requires_grad=True)
        self.B = nn.Parameter(torch.zeros_like(base.weight)[:, :1].repeat(1, r))
        self.scale = torch.tensor(alpha / r).item()
        self.merged = False

    def forward(self, x):
        out = self.base(x)
        if self.merged is False:
            more = x.double() @ self.A.double().T @ self.B.double().T
            out = out + (more * self.scale).to(out.dtype)
        return out


class OneRankAtATime(nn.Module):
    """A sum of r outer products, each for itself."""

    def __init__(self, base, r, alpha):
        super().__init__()
        self.merged = False
        self.base = base
        self.scale = alpha * r**-1
        self.register_parameter("A", nn.Parameter(torch.ones_like(base.weight[0]).repeat(r, 1)))
        self.register_parameter("B", nn.Parameter(base.weight.new_zeros((base.out_features, r))))
        self.A.data.normal_().div_(base.in_features**0.5)
        self.base.requires_grad_(False)

    def forward(self, x):
        total = self.base(x)
        if self.merged:
            return total
        for a, b in zip(self.A, self.B.T, strict=True):
            total = total + self.scale * (x * a).sum(-1, keepdim=True) * b
        return total


# --- inject_lora --------------------------------------------------------------------------------


def by_paths(model, targets, r, alpha):
    model.requires_grad_(False)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and path.split(".")[-1] in targets:
            parent = model.get_submodule(".".join(path.split(".")[:-1]))
            setattr(parent, path.split(".")[-1], LoRALinear(module, r, alpha))
    return model


def by_recursion(model, targets, r, alpha):
    for p in model.parameters():
        p.requires_grad = False

    def walk(module):
        for name, child in module.named_children():
            if isinstance(child, LoRALinear):
                continue
            if name in targets and isinstance(child, nn.Linear):
                setattr(module, name, LoRALinear(child, r, alpha))
            else:
                walk(child)

    walk(model)
    return model


def by_parents(model, targets, r, alpha):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parent in [*model.modules()]:
        for target in targets:
            layer = getattr(parent, target, None)
            if type(layer) is nn.Linear:
                setattr(parent, target, LoRALinear(base=layer, r=r, alpha=alpha))
    return model


def freezing_afterwards(model, targets, r, alpha):
    found = {name: m for name, m in model.named_modules() if type(m) is nn.Linear}
    for name, layer in found.items():
        if name in targets or any(name.endswith("." + target) for target in targets):
            *way, last = name.split(".")
            owner = model
            for step in way:
                owner = owner[int(step)] if step.isdigit() else getattr(owner, step)
            setattr(owner, last, LoRALinear(layer, r, alpha))
    for name, p in model.named_parameters():
        p.requires_grad = name.split(".")[-1] in ("A", "B")
    return model


def while_walking(model, targets, r, alpha):
    for p in model.parameters():
        p.requires_grad = False
    for parent in model.modules():
        for name, child in parent._modules.items():
            if name in set(targets) and child.__class__ == nn.Linear:
                parent._modules[name] = LoRALinear(child, r, alpha)
    return model


# --- trainable_fraction -------------------------------------------------------------------------


def fraction_of_sums(model):
    total = sum(p.numel() for p in model.parameters())
    return sum(p.numel() for p in model.parameters() if p.requires_grad) / total


def fraction_by_loop(model):
    trained = everything = 0
    for _, p in model.named_parameters():
        everything += math.prod(p.shape)
        trained += math.prod(p.shape) * p.requires_grad
    return trained / everything


def fraction_by_identity(model):
    seen = {}
    for module in model.modules():
        for p in module.parameters(recurse=False):
            seen[id(p)] = p
    sizes = [(p.nelement(), p.requires_grad) for p in seen.values()]
    return sum(n for n, trains in sizes if trains) / sum(n for n, _ in sizes)


def fraction_in_tensors(model):
    sizes = torch.tensor([p.numel() for p in model.parameters()], dtype=torch.float64)
    trains = torch.tensor([p.requires_grad for p in model.parameters()])
    return (sizes[trains].sum() / sizes.sum()).item()


def fraction_from_frozen(model):
    frozen = sum(len(p.flatten()) for p in model.parameters() if not p.requires_grad)
    return 1 - frozen / len(nn.utils.parameters_to_vector(model.parameters()))


# --- merge and unmerge --------------------------------------------------------------------------


@torch.no_grad()
def merge_in_place(model):
    for layer in model.modules():
        if isinstance(layer, LoRALinear) and not layer.merged:
            layer.base.weight += layer.scale * layer.B @ layer.A
            layer.merged = True


def merge_by_data(model):
    for m in list(model.modules()):
        if not isinstance(m, LoRALinear) or m.merged:
            continue
        m.base.weight.data = m.base.weight.data + m.B.data @ m.A.data * m.scale
        m.merged = True


def merge_in_float64(model):
    layers = [m for m in model.modules() if type(m) is LoRALinear]
    for layer in layers:
        if not layer.merged:
            with torch.no_grad():
                W, A, B = (t.double() for t in (layer.base.weight, layer.A, layer.B))
                layer.base.weight.copy_(W + layer.scale * (B @ A))
            layer.merged = True
    return model


def merge_new_parameter(model):
    for layer in model.modules():
        if isinstance(layer, LoRALinear) and layer.merged is False:
            summed = layer.base.weight + layer.scale * torch.einsum("or,ri->oi", layer.B, layer.A)
            layer.base.weight = nn.Parameter(summed.detach(), requires_grad=False)
            layer.merged = True


def merge_by_recursion(model):
    for child in model.children():
        merge_by_recursion(child)
    if isinstance(model, LoRALinear) and not model.merged:
        for j in range(model.A.size(0)):
            outer = torch.outer(model.B[:, j], model.A[j]).detach()
            model.base.weight.data.add_(outer, alpha=model.scale)
        model.merged = True


@torch.no_grad()
def unmerge_in_place(model):
    for layer in model.modules():
        if isinstance(layer, LoRALinear) and layer.merged:
            layer.base.weight -= layer.scale * layer.B @ layer.A
            layer.merged = False


def unmerge_by_data(model):
    for m in list(model.modules()):
        if isinstance(m, LoRALinear):
            if m.merged:
                m.base.weight.data.sub_((m.B @ m.A).data * m.scale)
            m.merged = False


def unmerge_in_float64(model):
    for layer in [m for m in model.modules() if type(m) is LoRALinear and m.merged]:
        delta = layer.scale * (layer.B.double() @ layer.A.double())
        layer.base.weight.data = (layer.base.weight.double() - delta).detach().to(layer.A.dtype)
        layer.merged = False


def unmerge_new_parameter(model):
    for layer in model.modules():
        if not (isinstance(layer, LoRALinear) and layer.merged):
            continue
        with torch.no_grad():
            left = torch.sub(layer.base.weight, layer.B @ layer.A, alpha=layer.scale)
        layer.base.weight = nn.Parameter(left, False)
        layer.merged = False


def unmerge_by_apply(model):
    def change(layer):
        if isinstance(layer, LoRALinear) and layer.merged:
            layer.base.weight.data += -(layer.alpha / layer.r) * (layer.B @ layer.A).data
            layer.merged = not layer.merged

    model.apply(change)


# --- NF4 ----------------------------------------------------------------------------------------


def _quantiles(n):
    places = torch.linspace(0.9677083, 0.5, n + 1, dtype=torch.float64)[:n]
    return torch.distributions.Normal(0.0, 1.0).icdf(places)


def _levels():
    levels = torch.cat([-_quantiles(7), torch.zeros(1), _quantiles(8).flip(0)])
    return (levels / levels.max()).float()


NF4_LEVELS = _levels()


def quantize_by_distance(x):
    flat = F.pad(x.reshape(-1), (0, -x.numel() % 64))
    blocks = flat.view(-1, 64)
    scales = blocks.abs().max(dim=1).values
    unit = blocks / scales.clamp(min=1e-12)[:, None]
    distance = (unit.unsqueeze(-1) - NF4_LEVELS.to(x)).abs()
    return distance.argmin(-1).to(torch.uint8), scales


def quantize_by_boundaries(x):
    rest = x.numel() % 64
    flat = x.flatten()
    if rest:
        flat = torch.cat([flat, x.new_zeros(64 - rest)])
    blocks = flat.reshape(-1, 64)
    scales = blocks.abs().amax(-1)
    levels = NF4_LEVELS.to(x)
    boundaries = (levels[1:] + levels[:-1]) / 2
    unit = torch.nan_to_num(blocks / scales[:, None])
    return torch.bucketize(unit, boundaries).to(torch.uint8), scales


def quantize_with_scaled_levels(x):
    n = math.ceil(x.numel() / 64)
    blocks = torch.zeros(n * 64, dtype=x.dtype, device=x.device)
    blocks[: x.numel()] = x.flatten()
    blocks = blocks.view(n, 64)
    scales = torch.maximum(blocks.max(1)[0], -blocks.min(1)[0])
    levels = scales[:, None] * NF4_LEVELS.to(x)  # (n, 16)
    distance = (blocks[:, :, None] - levels[:, None, :]) ** 2
    # In a block of zeros all levels are equally near.
    codes = distance.argmin(2).masked_fill(scales[:, None] == 0, 7)
    return codes.byte(), scales


def quantize_block_by_block(x):
    codes, scales = [], []
    for block in x.flatten().split(64):
        absmax = block.abs().max()
        unit = block / absmax if absmax > 0 else block
        near = torch.cdist(unit[:, None], NF4_LEVELS.to(x)[:, None], p=1).argmin(1)
        codes.append(F.pad(near.to(torch.uint8), (0, 64 - len(block)), value=7))
        scales.append(absmax)
    return torch.stack(codes), torch.stack(scales)


def quantize_in_float64(x):
    flat = x.double().flatten()
    flat = torch.nn.functional.pad(flat, (0, (64 - flat.numel() % 64) % 64))
    blocks = flat.unflatten(0, (-1, 64))
    scales = torch.linalg.vector_norm(blocks, ord=float("inf"), dim=1)
    levels = NF4_LEVELS.double().to(x.device)
    unit = torch.where(scales[:, None] > 0, blocks / scales[:, None], 0.0)
    # The number of boundaries that each number lies above.
    codes = (unit[..., None] > (levels[:-1] + levels[1:]) / 2).sum(-1)
    return codes.to(torch.uint8), scales


def dequantize_by_index(codes, scales, shape):
    values = NF4_LEVELS.to(scales)[codes.long()] * scales[:, None]
    return values.flatten()[: math.prod(shape)].view(shape)


def dequantize_by_take(codes, scales, shape):
    values = torch.take(NF4_LEVELS.to(scales.device), codes.to(torch.int64))
    values = torch.einsum("nb,n->nb", values.to(scales.dtype), scales).reshape(-1)
    n = 1
    for size in shape:
        n *= size
    return values[:n].reshape(*shape)


def dequantize_by_one_hot(codes, scales, shape):
    values = F.one_hot(codes.long(), 16).to(scales) @ NF4_LEVELS.to(scales)
    return (values * scales.unsqueeze(1)).view(-1).narrow(0, 0, math.prod(shape)).view(shape)


def dequantize_block_by_block(codes, scales, shape):
    levels = NF4_LEVELS.to(scales)
    blocks = [levels[row.int()] * scale for row, scale in zip(codes, scales, strict=True)]
    values = torch.cat(blocks)
    return values[: torch.Size(shape).numel()].unflatten(0, shape)


def dequantize_with_index_select(codes, scales, shape):
    levels = NF4_LEVELS.double().to(scales.device)
    flat = levels.index_select(0, codes.flatten().int())
    flat = flat * scales.double().repeat_interleave(codes.size(1))
    return torch.reshape(flat[: math.prod(shape)], shape)


RIGHT = {
    "LoRALinear": [LoRALinear, WithDelta, WithEinsum, InFloat64, OneRankAtATime],
    "inject_lora": [by_paths, by_recursion, by_parents, freezing_afterwards, while_walking],
    "trainable_fraction": [fraction_of_sums, fraction_by_loop, fraction_by_identity,
                           fraction_in_tensors, fraction_from_frozen],
    "merge": [merge_in_place, merge_by_data, merge_in_float64, merge_new_parameter,
              merge_by_recursion],
    "unmerge": [unmerge_in_place, unmerge_by_data, unmerge_in_float64, unmerge_new_parameter,
                unmerge_by_apply],
    "quantize_nf4": [quantize_by_distance, quantize_by_boundaries, quantize_with_scaled_levels,
                     quantize_block_by_block, quantize_in_float64],
    "dequantize_nf4": [dequantize_by_index, dequantize_by_take, dequantize_by_one_hot,
                       dequantize_block_by_block, dequantize_with_index_select],
}  # fmt: skip
