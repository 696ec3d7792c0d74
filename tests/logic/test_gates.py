"""The sixteen gates and their bilinear form."""

import pytest
import torch

from src.logic.gates import GATE_NAMES, gate_coefficients
from tests.logic import oracle


@pytest.mark.parametrize("number", range(16))
def test_the_bilinear_form_of_a_gate_is_the_gate(number):
    a, b = torch.rand(2, 50, dtype=torch.float64)
    c = gate_coefficients(torch.float64)[number]
    torch.testing.assert_close(c[0] + c[1] * a + c[2] * b + c[3] * a * b, oracle.gate(number, a, b))


@pytest.mark.parametrize("number", range(16))
def test_a_gate_s_number_is_its_truth_table_in_binary(number):
    c = gate_coefficients()[number]
    outputs = [int(c @ torch.tensor([1.0, a, b, a * b])) for a in (0, 1) for b in (0, 1)]
    assert int("".join(map(str, outputs)), 2) == number


@pytest.mark.parametrize("number", range(16))
def test_a_gate_s_name_says_what_it_computes(number):
    for a in (False, True):
        for b in (False, True):
            meaning = {
                "a nor b": not (a or b),
                "a nand b": not (a and b),
                "a xor b": a != b,
                "a xnor b": a == b,
                "false": False,
                "true": True,
            }
            name = GATE_NAMES[number]
            expected = meaning[name] if name in meaning else eval(name)
            assert bool(number >> (3 - 2 * a - b) & 1) == expected
