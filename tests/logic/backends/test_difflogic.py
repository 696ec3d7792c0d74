"""The layers against difflogic's own Python implementation, its source fetched by pip."""

import pytest
import torch

from helper_scripts import peers
from src.logic import GroupSum, LogicLayer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def difflogic(tmp_path_factory):
    return peers.difflogic(tmp_path_factory.mktemp("peers"))


def pair(difflogic, implementation, connections="random", grad_factor=1.0, in_dim=300, out_dim=400):
    """Ours and difflogic's layer, made from the same seed."""
    torch.manual_seed(3)
    ours = LogicLayer(in_dim, out_dim, grad_factor=grad_factor, implementation=implementation, connections=connections)
    torch.manual_seed(3)
    theirs = difflogic.LogicLayer(
        in_dim, out_dim, device="cpu", grad_factor=grad_factor, implementation="python", connections=connections
    )
    return ours, theirs


@pytest.mark.parametrize("connections", ["random", "unique"])
@pytest.mark.parametrize(("in_dim", "out_dim"), [(300, 400), (301, 151), (60, 1500)])
def test_the_same_seed_gives_difflogic_s_weights_and_connections(difflogic, connections, in_dim, out_dim):
    ours, theirs = pair(difflogic, "torch", connections, in_dim=in_dim, out_dim=out_dim)
    assert torch.equal(ours.weights, theirs.weights)
    assert torch.equal(ours.indices, torch.stack(list(theirs.indices)))


@pytest.mark.parametrize("grad_factor", [1.0, 2.0])
@pytest.mark.parametrize("implementation", ["torch", "numba"])
def test_outputs_and_gradients_are_difflogic_s(difflogic, implementation, grad_factor):
    ours, theirs = pair(difflogic, implementation, grad_factor=grad_factor)
    x = torch.rand(70, 300, requires_grad=True)
    grad = torch.randn(70, 400)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)
    found = torch.autograd.grad(ours(x), [x, ours.weights], grad)
    expected = torch.autograd.grad(theirs(x), [x, theirs.weights], grad)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize("implementation", ["torch", "numba"])
def test_discretised_outputs_are_exactly_difflogic_s(difflogic, implementation):
    ours, theirs = pair(difflogic, implementation)
    x = torch.randint(0, 2, (70, 300)).float()
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_group_sums_are_difflogic_s(difflogic):
    x = torch.rand(5, 60)
    torch.testing.assert_close(GroupSum(10, 7.0)(x), difflogic.GroupSum(10, 7.0, device="cpu")(x))
