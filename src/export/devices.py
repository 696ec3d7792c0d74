"""FPGA families and their devices: how many LUTs, registers and block RAMs each has, by its data sheet."""

import re
from dataclasses import dataclass

from src.export.hardware_tools import TIME_LIMIT


@dataclass(frozen=True)
class Resources:
    """Numbers of LUTs, registers and block RAMs: what a device has, or what a design takes."""

    luts: int
    registers: int = 0
    block_rams: int = 0


@dataclass(frozen=True)
class Device:
    """A device: its name in the data sheet, what it has, and the options by which nextpnr places for it."""

    name: str
    has: Resources
    nextpnr: tuple[str, ...] = ()

    def share(self, design: Resources) -> float:
        """Return how full a design makes the device, by what runs out first; above 1 if it does not fit."""
        return max(number / most for number, most in zip(vars(design).values(), vars(self.has).values(), strict=True))


@dataclass(frozen=True)
class Family:
    """An FPGA family.

    Attributes:
        synth: the command of Yosys that synthesises a whole design for it.
        map_luts: the command that makes LUTs of gates in that.
        lut_inputs: number of inputs of a LUT.
        source: the data sheet that the numbers of the devices are from.
        devices: from the smallest to the largest.
        place_and_route: the program that does it; "" if no free one does.
        nextpnr: its options for every device: pins may be anywhere.
        placers: nextpnr's ways to place, and how many seconds each is routed before the next one is tried.
        logic_cell: nextpnr's name of a cell that has a LUT and a register, which not every two of them can share; "" if
            LUTs and registers are apart.
        cells: for LUTs, registers and block RAMs, the names of cells as regular expressions, and the number in each.
    """

    synth: str
    map_luts: str
    lut_inputs: int
    source: str
    devices: tuple[Device, ...]
    place_and_route: str
    nextpnr: tuple[str, ...]
    placers: tuple[tuple[str, float], ...]
    logic_cell: str
    cells: tuple[dict[str, int], dict[str, int], dict[str, int]]

    @property
    def counter_inputs(self) -> int:
        """Return the kind of counters that takes the fewest LUTs; see `netlist_of`."""
        return 6 if self.lut_inputs == 6 else 3

    @property
    def tools(self) -> list[str]:
        """Return the programs that synthesise, place and route."""
        return ["yosys", *filter(None, [self.place_and_route])]

    def smallest(self, design: Resources) -> Device | None:
        """Return the smallest device that holds a design; None if none does."""
        return next((device for device in self.devices if device.share(design) <= 1), None)

    def resources(self, cells: dict[str, int]) -> Resources:
        """Return what a design takes that consists of these cells, numbers by name."""
        return Resources(
            *(
                sum(
                    number * each
                    for cell, number in cells.items()
                    for pattern, each in {**kinds, **mapped}.items()
                    if re.fullmatch(pattern, cell)
                )
                for kinds, mapped in zip(self.cells, _MAPPED, strict=True)
            )
        )


def _xilinx(name: str, luts: int, block_rams: int) -> Device:
    return Device(name, Resources(luts, 2 * luts, block_rams))


# Yosys's own cells that each become one of the family's.
_MAPPED: tuple[dict[str, int], ...] = ({r"\$lut": 1}, {r"\$_S?DFFE?_\w+": 1}, {})

FAMILIES = {
    "ice40": Family(
        synth="synth_ice40",
        map_luts="abc -lut 4",
        lut_inputs=4,
        source="Lattice FPGA-DS-02029 and FPGA-DS-02008",  # a logic cell is a LUT and a register
        devices=(
            Device("HX1K", Resources(1_280, 1_280, 16), ("--hx1k", "--package", "tq144")),
            Device("UP5K", Resources(5_280, 5_280, 30), ("--up5k", "--package", "sg48")),
            Device("HX8K", Resources(7_680, 7_680, 32), ("--hx8k", "--package", "ct256")),
        ),
        place_and_route="nextpnr-ice40",
        nextpnr=("--pcf-allow-unconstrained",),
        placers=(("heap", TIME_LIMIT),),
        logic_cell="ICESTORM_LC",
        cells=({"SB_LUT4": 1}, {"SB_DFF.*": 1}, {"SB_RAM.*": 1}),
    ),
    "ecp5": Family(
        # Without -nowidelut, LUTs are joined for functions of more inputs, and a network takes up to twice as many.
        synth="synth_ecp5 -nowidelut",
        map_luts="abc -lut 4",
        lut_inputs=4,
        source="Lattice FPGA-DS-02012",
        devices=(
            Device("LFE5U-12F", Resources(12_000, 12_000, 32), ("--12k", "--package", "CABGA381")),
            Device("LFE5U-25F", Resources(24_000, 24_000, 56), ("--25k", "--package", "CABGA381")),
            Device("LFE5U-45F", Resources(44_000, 44_000, 108), ("--45k", "--package", "CABGA381")),
            Device("LFE5U-85F", Resources(84_000, 84_000, 208), ("--85k", "--package", "CABGA381")),
        ),
        place_and_route="nextpnr-ecp5",
        nextpnr=("--lpf-allow-unconstrained",),
        # By heap the clock is faster, by static more networks can be routed: of 800 and 400 gates of four inputs, in
        # four minutes, where heap had a third of the wires left after nine.
        placers=(("heap", 600.0), ("static", TIME_LIMIT)),
        logic_cell="",
        # A RAM of LUTs takes four LUTs and two of their slices' others; a pair of carries takes two LUTs.
        cells=({"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}, {"TRELLIS_FF": 1}, {"DP16KD": 1, "PDPW16KD": 1}),
    ),
    "xilinx": Family(
        synth="synth_xilinx -nowidelut -nodsp -flatten -noiopad -noclkbuf",
        map_luts="abc -luts 2:2,3,6:5",  # as the script has it
        lut_inputs=6,
        source="AMD DS180",  # slices of four LUTs and eight registers; block RAMs of 36 Kb
        devices=(
            _xilinx("Artix-7 XC7A12T", 8_000, 20),
            _xilinx("Artix-7 XC7A15T", 10_400, 25),
            _xilinx("Artix-7 XC7A25T", 14_600, 45),
            _xilinx("Artix-7 XC7A35T", 20_800, 50),
            _xilinx("Artix-7 XC7A50T", 32_600, 75),
            _xilinx("Artix-7 XC7A75T", 47_200, 105),
            _xilinx("Artix-7 XC7A100T", 63_400, 135),
            _xilinx("Kintex-7 XC7K160T", 101_400, 325),
            _xilinx("Artix-7 XC7A200T", 134_600, 365),
            _xilinx("Kintex-7 XC7K325T", 203_800, 445),
            _xilinx("Kintex-7 XC7K480T", 298_600, 955),
            _xilinx("Virtex-7 XC7V585T", 364_200, 795),
            _xilinx("Virtex-7 XC7V2000T", 1_221_600, 1_292),
        ),
        place_and_route="",
        nextpnr=(),
        placers=(),
        logic_cell="",
        cells=(
            {"LUT[1-6]": 1, "RAM(32|64)X1S": 1, "RAM(32|64)X1D": 2, "RAM32M|RAM64M": 4, "RAM128X1D": 4, "SRL.*": 1},
            {"FD[RSCP]E(_1)?": 1},
            {"RAMB36E1": 1, "RAMB18E1": 1},
        ),
    ),
}
