"""Exports in C and in Verilog: both count what the circuit does, whatever the names."""

import pytest

from src.export.c99 import to_c
from src.export.description import Description, identifier
from src.export.verilog import to_verilog
from tests.export.exports import (
    C_FLAGS,
    convolutional,
    described,
    need,
    run,
    self_test,
    simulate,
    trained,
    voted,
    write,
)


@pytest.mark.parametrize("of", [convolutional, voted])
def test_a_network_counts_the_same_in_c_and_in_verilog(tmp_path, of):
    need("gcc")
    circuit, frames, counts = of()
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), frames, counts, "random frames"))
    assert "130 of 130" in self_test(folder)
    need("iverilog")
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames[:20], counts[:20], "random frames"))
    assert "20 of 20" in simulate(folder)


def test_names_that_mean_something_to_c_or_verilog(tmp_path):
    need("gcc")
    circuit, frames, counts = trained(classes=3)
    odd = ('a "b" \\ %d ??/', "*/ /* // é\n", "")
    description = Description(identifier("7-int"), (1, 10, 15), odd)
    frames_are = "frames of */ a /* folder"
    folder = write(tmp_path / "c", to_c(circuit, description, frames, counts, frames_are))
    self_test(folder, name="net_7_int")
    (folder / "names.c").write_text(
        '#include "net_7_int.h"\n#include <stdio.h>\n'
        'int main(void) { for (int c = 0; c < 3; c++) printf("%s|", net_7_int_class_names[c]); return 0; }\n'
    )
    run(folder, "gcc", *C_FLAGS, "names.c", "net_7_int.c", "-o", "names")
    assert run(folder, "./names") == "|".join(odd) + "|"
    need("iverilog")
    folder = write(tmp_path / "verilog", to_verilog(circuit, description, frames[:9], counts[:9], frames_are))
    assert "9 of 9" in simulate(folder, "net_7_int")
