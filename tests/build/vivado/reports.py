"""Reports in the form of Vivado's own (UG906): the numbers are made up."""

PATH = {
    "SLACK": "",
    "STARTPOINT_PIN": "top_i/accelerator/inst/accelerator/conv/sum_reg[3]/C",
    "ENDPOINT_PIN": "top_i/accelerator/inst/accelerator/conv/out_reg[7]/D",
    "LOGIC_LEVELS": "6",
    "DATAPATH_DELAY": "3.871",
}
POWER = """
1. Summary
----------

+--------------------------+--------------+
| Total On-Chip Power (W)  | 3.812        |
| Design Power Budget (W)  | Unspecified* |
| Power Budget Margin (W)  | NA           |
| Dynamic (W)              | 3.121        |
| Device Static (W)        | 0.691        |
| Confidence Level         | Medium       |
+--------------------------+--------------+
"""


def timing(setup: float, hold: float) -> str:
    met = min(setup, hold) >= 0
    said = "All user specified timing constraints are met." if met else (
        "Timing constraints are not met."
    )  # fmt: skip
    numbers = f"{setup:>11.3f}{min(setup, 0):>13.3f}{int(setup < 0):>23}{81234:>21}"
    numbers += f"{hold:>13.3f}{min(hold, 0):>13.3f}"
    return f"""
------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
{numbers}


{said}
"""


def utilization(ultrascale: bool) -> str:
    logic, registers = ("CLB LUTs", "CLB Registers") if ultrascale else (
        ("Slice LUTs", "Slice Registers")
    )  # fmt: skip
    rows = [
        (f"{logic}*", 24411, 230400), ("  LUT as Logic", 23102, 230400),
        (registers, 40112, 460800), ("Block RAM Tile", 103.5, 312), ("DSPs", 0, 1728),
    ]  # fmt: skip
    if ultrascale:
        rows.append(("URAM", 0, 96))
    line = "+----------------+-------+-------+------------+-----------+-------+\n"
    text = "".join(
        f"| {name:<14} | {used:>5} |     0 |          0 | {there:>9} | {used / there:>5.2%} |\n"
        for name, used, there in rows
    )
    head = "|    Site Type   |  Used | Fixed | Prohibited | Available | Util% |\n"
    return f"\n1. CLB Logic\n------------\n\n{line}{head}{line}{text}{line}"
