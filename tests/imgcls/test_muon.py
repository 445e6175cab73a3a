"""Newton–Schulz steps against the singular value decomposition and timm, and Muon's step against timm and AdamW."""

import pytest
import torch
from timm.optim.muon import _COEFFICIENTS, zeropower_via_newtonschulz
from timm.optim.muon import Muon as TimmMuon
from torch import nn

from imgcls.training.muon import ORIGINAL, QUINTIC, Muon, newton_schulz, suits_muon

SPECTRA = {
    "even": torch.ones(48),
    "falling": torch.logspace(0, -3, 48),
    "few large": torch.cat([torch.ones(4), torch.full((44,), 1e-3)]),
}


def matrix(spectrum: str) -> torch.Tensor:
    """A matrix (48, 200) with these singular values."""
    draw = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(48, 48, generator=draw)).Q
    right = torch.linalg.qr(torch.randn(200, 48, generator=draw)).Q
    return left * SPECTRA[spectrum] @ right.T


def exact(x: torch.Tensor, coefficients) -> torch.Tensor:
    """The polynomials of the singular values, by singular value decomposition in float64."""
    left, s, right = torch.linalg.svd(x.double(), full_matrices=False)
    s = s / s.norm()
    for a, b, c in coefficients:
        s = a * s + b * s**3 + c * s**5
    return left * s @ right


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("coefficients", [(ORIGINAL,) * 3, QUINTIC, QUINTIC + QUINTIC[-1:]], ids=["3", "5", "6"])
@pytest.mark.parametrize("tall", [False, True])
def test_float32_steps_are_the_polynomials_of_the_singular_values(spectrum, coefficients, tall):
    x = matrix(spectrum)
    x = x.T if tall else x
    assert error(newton_schulz(x[None], coefficients)[0], exact(x, coefficients)) < 1e-3


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("coefficients", [(ORIGINAL,) * 3, QUINTIC], ids=["3", "5"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_are_about_as_exact_as_timm_s(spectrum, coefficients, dtype):
    x = matrix(spectrum)
    found = newton_schulz(x[None], coefficients, dtype)[0]
    assert found.dtype == dtype
    timm = zeropower_via_newtonschulz(x, len(coefficients), list(coefficients), dtype=dtype)
    expected = exact(x, coefficients)
    assert error(found, expected) < 2 * error(timm, expected) + 0.05  # its polynomial itself is off by 20 %
    assert torch.linalg.svdvals(found.float()).max() < 1.3


def test_layers_of_one_shape_are_orthogonalised_independently():
    layers = torch.stack([matrix("even"), 100 * matrix("falling"), torch.zeros(48, 200)])
    together = newton_schulz(layers, QUINTIC)
    for layer, found in zip(layers, together, strict=True):
        assert torch.allclose(newton_schulz(layer[None], QUINTIC)[0], found, atol=1e-5)
    assert not together[2].any()


def test_the_coefficients_are_those_of_timm():
    assert list(QUINTIC) == _COEFFICIENTS["quintic"]
    assert _COEFFICIENTS["original"] == [ORIGINAL]


def take_steps(optimizer, ours, peer, theirs, count: int = 3) -> None:
    """Steps of two optimizers with the same random gradients."""
    for _ in range(count):
        for parameter, other in zip(ours, theirs, strict=True):
            parameter.grad = torch.randn_like(parameter)
            other.grad = parameter.grad.clone()
        optimizer.step()
        peer.step()


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_equal_timm_s_on_hidden_weights(monkeypatch, nesterov):
    """Three steps with weight decay and momentum, on convolutions in either memory format and on a linear layer."""
    monkeypatch.setenv("IMGCLS_PRECISION", "float32")
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 16)]
    ours = [layer.weight for layer in layers]
    ours[1].data = ours[1].data.to(memory_format=torch.channels_last)
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    optimizer = Muon([{"params": ours, "muon": True, "weight_decay": 0.1}], 0.1, 0.9, nesterov)
    peer = TimmMuon(theirs, 0.1, weight_decay=0.1, momentum=0.9, nesterov=nesterov)
    take_steps(optimizer, ours, peer, theirs)
    for weight, other in zip(ours, theirs, strict=True):
        assert torch.allclose(weight, other, atol=0.02), tuple(weight.shape)  # timm's steps are in bfloat16
        assert weight.grad is None


def test_other_groups_are_adamw_s():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(7))]
    theirs = [parameter.detach().clone().requires_grad_() for parameter in ours]
    optimizer = Muon([{"params": ours, "muon": False, "weight_decay": 0.1}], 0.1)
    peer = torch.optim.AdamW(theirs, 0.1, betas=(0.9, 0.95), weight_decay=0.1)
    take_steps(optimizer, ours, peer, theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("shape", "suits"),
    [((8, 3, 3, 3), True), ((16, 8), True), ((8,), False), ((8, 1, 3, 3), False), ((2, 64), False), ((4, 1024), False)],
)
def test_only_matrices_of_some_width_are_orthogonalised(shape, suits):
    assert suits_muon(nn.Parameter(torch.zeros(shape))) is suits
