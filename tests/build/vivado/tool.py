"""A stand-in for `vivado -mode batch`: runs a script, checks every command, leaves Vivado's files.

Tcl's own commands run as they are. A command that is not in COMMANDS, an option that UG835 does not
list for it, an object that is not there or a step out of order ends the script with an error, as it
would in Vivado. The design is checked where the script has it validated.
"""

import contextlib
import fnmatch
import os
import re
import sys
import tkinter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from tests.build.vivado import reports
from tests.build.vivado.catalogue import CATALOGUE, Cell
from tests.build.vivado.design import Design, Instance
from tests.build.vivado.modules import Wrong, read_module

# Command -> its options with a value, its options without one, how many words it takes beside them.
# UG835, "Vivado Design Suite Tcl Command Reference Guide", has a section for each.
COMMANDS: dict[str, tuple[str, str, tuple[int, int]]] = {
    "create_project": ("-part", "-force -in_memory", (1, 2)),
    "current_project": ("", "-quiet", (0, 1)),
    "current_fileset": ("", "-quiet -simset -constrset -srcset", (0, 1)),
    "set_property": ("-dict", "-quiet", (1, 3)),
    "get_property": ("", "-quiet -min -max", (2, 2)),
    "add_files": ("-fileset", "-norecurse -quiet", (1, 1)),
    "update_compile_order": ("-fileset", "-quiet", (0, 0)),
    "get_files": ("-filter -of_objects", "-quiet -all", (0, 1)),
    "get_ipdefs": ("-filter", "-quiet -all", (0, 1)),
    "create_bd_design": ("", "-quiet", (1, 1)),
    "create_bd_cell": ("-type -vlnv -reference", "-quiet", (1, 1)),
    "create_bd_intf_port": ("-mode -vlnv", "-quiet", (1, 1)),
    "get_bd_cells": ("-filter", "-quiet", (0, 1)),
    "get_bd_pins": ("-filter -of_objects", "-quiet", (0, 1)),
    "get_bd_intf_pins": ("-filter -of_objects", "-quiet", (0, 1)),
    "get_bd_intf_ports": ("-filter", "-quiet", (0, 1)),
    "get_bd_addr_spaces": ("-filter -of_objects", "-quiet", (0, 1)),
    "get_bd_addr_segs": ("-filter -of_objects", "-quiet", (0, 1)),
    "connect_bd_net": ("-net", "-quiet", (2, 99)),
    "connect_bd_intf_net": ("-intf_net -boundary_type", "-quiet", (2, 2)),
    "assign_bd_address": ("-offset -range -target_address_space", "-force -quiet", (0, 1)),
    "exclude_bd_addr_seg": ("-target_address_space -offset -range", "-quiet", (1, 1)),
    "validate_bd_design": ("", "-force -quiet", (0, 1)),
    "save_bd_design": ("", "-quiet", (0, 1)),
    "generate_target": ("", "-force -quiet", (2, 2)),
    "make_wrapper": ("-files -fileset", "-top -import -force", (0, 0)),
    "launch_runs": ("-jobs -to_step", "-quiet", (1, 1)),
    "wait_on_run": ("-timeout", "-quiet", (1, 1)),
    "get_runs": ("-filter", "-quiet", (0, 1)),
    "open_run": ("-name", "-quiet", (1, 1)),
    "report_timing_summary": ("-file -max_paths -delay_type", "-quiet -warn_on_violation", (0, 0)),
    "report_utilization": ("-file -format", "-hierarchical -quiet", (0, 0)),
    "report_power": ("-file -format", "-quiet", (0, 0)),
    "get_timing_paths": ("-delay_type -max_paths -nworst", "-quiet", (0, 0)),
    "version": ("", "-short", (0, 0)),
}
# UG912, "Vivado Design Suite Properties Reference Guide"; UG835, `set_property`.
PROPERTIES = {
    "project": {"target_language": "Verilog|VHDL"},
    "fileset": {"top": r"\w+"},
    "top.bd": {"synth_checkpoint_mode": "None|Singular|Hierarchical"},
    "run": {"STEPS.PHYS_OPT_DESIGN.IS_ENABLED": "true|false|0|1"},
}
# XilinxBoardStore's board.xml, and the manuals that build/shell/systems.py names.
PARTS = {
    *("xc7z020clg400-1", "xczu3eg-sbva484-1-e", "xczu3eg-sbva484-1-i", "xck26-sfvc784-2LV-c"),
    *("xczu9eg-ffvb1156-2-e", "xczu7ev-ffvc1156-2-e", "xczu28dr-ffvg1517-2-e"),
    "xczu48dr-ffvg1517-2-e",
}
STEPS = ("", "created", "designed", "validated", "generated", "wrapped", "synthesised", "placed",
         "open")  # fmt: skip


class Vivado:
    """One run of Vivado.

    Attributes:
        part, project: of the project.
        design: the block design.
        sources: files that were added.
        words: commands as they came.
        slack_ns: of setup and hold, that its reports say.
        failing: a run (synth_1, impl_1) that does not end.
    """

    def __init__(self, slack_ns: tuple[float, float] = (0.213, 0.011), failing: str = "") -> None:
        self.part, self.project = "", Path()
        self.design = Design()
        self.sources: list[Path] = []
        self.words: list[list[str]] = []
        self.slack_ns, self.failing = slack_ns, failing
        self.step = ""
        self.done: set[str] = set()
        self.synthesis_mode = "Hierarchical"
        self.top = ""

    def run(self, script: Path) -> None:
        """Run a script.

        Raises:
            Wrong: Vivado would stop there.
        """
        tcl = tkinter.Tcl()
        for name in COMMANDS:
            tcl.createcommand(f"stand_in_{name}", self._command(name))
            # An exception in a command of ours would lose its words on the way through Tcl.
            tcl.eval(
                f"proc {name} args {{ lassign [stand_in_{name} {{*}}$args] failed value\n"
                "if {$failed} { error $value }\nreturn $value }"
            )
        tcl.createcommand("puts", self._puts(tcl))
        where = Path.cwd()
        os.chdir(script.parent)
        try:
            tcl.evalfile(str(script))
        except tkinter.TclError as error:
            raise Wrong(str(error)) from error
        finally:
            os.chdir(where)

    def _puts(self, tcl: Any) -> Callable[..., str]:
        tcl.eval("rename puts tcl_puts")

        def puts(*words: str) -> str:
            if len(words) == 1:
                print(words[0], flush=True)
                return ""
            return tcl.call("tcl_puts", *words)

        return puts

    def _command(self, name: str) -> Callable[..., Any]:
        method = getattr(self, f"_{name}")
        valued, plain, (least, most) = COMMANDS[name]

        def command(*given: Any) -> Any:
            words = [str(word) for word in given]
            self.words.append([name, *words])
            options: dict[str, str] = {}
            rest = []
            queue = list(words)
            while queue:
                word = queue.pop(0)
                if word in valued.split():
                    if not queue:
                        raise Wrong(f"{name}: {word} without a value")
                    options[word] = queue.pop(0)
                elif word in plain.split():
                    options[word] = "1"
                elif re.match(r"-[a-z_]+$", word):
                    raise Wrong(f"{name} has no option {word}")
                else:
                    rest.append(word)
            if not least <= len(rest) <= most:
                raise Wrong(f"{name} takes {least} to {most} words, not {len(rest)}")
            return method(options, *rest)

        def spoken(*given: Any) -> Any:
            try:
                return 0, command(*given)
            except (Wrong, ValueError) as error:
                return 1, f"[{name}] {error}"

        return spoken

    def _after(self, step: str, what: str) -> None:
        if STEPS.index(self.step) < STEPS.index(step):
            raise Wrong(f"{what} before the project is {step}")

    # Project -------------------------------------------------------------------------------------

    def _create_project(self, options: dict[str, str], name: str, folder: str = ".") -> str:
        if options.get("-part") not in PARTS:
            raise Wrong(f"no part {options.get('-part')}")
        self.part, self.project, self.step = options["-part"], Path(folder) / name, "created"
        self.project.parent.mkdir(parents=True, exist_ok=True)
        return name

    def _current_project(self, options: dict[str, str]) -> str:
        self._after("created", "current_project")
        return "project"

    def _current_fileset(self, options: dict[str, str]) -> str:
        return "fileset"

    def _add_files(self, options: dict[str, str], *words: str) -> str:
        self._after("created", "add_files")
        for word in words:
            path = Path(word)
            if not path.is_file():
                raise Wrong(f"no file {word}")
            if path in self.sources:
                raise Wrong(f"{path.name} is added twice")
            self.sources.append(path)
        return ""

    def _update_compile_order(self, options: dict[str, str]) -> str:
        return ""

    def _get_files(self, options: dict[str, str], pattern: str) -> str:
        if pattern != "top.bd":
            raise Wrong(f"no file {pattern}")
        self._after("designed", "get_files top.bd")
        return pattern

    def _version(self, options: dict[str, str]) -> str:
        return "2022.2"

    def _set_property(self, options: dict[str, str], *words: str) -> str:
        if "-dict" in options:
            pairs = tkinter.Tcl().splitlist(options["-dict"])
            (target,) = words
            given = dict(zip(pairs[::2], pairs[1::2], strict=True))
        else:
            key, value, target = words
            given = {key: value}
        for key, value in given.items():
            if target in self.design.cells:
                self._configure(target, key, value)
            else:
                self._set_other(target, key, value)
        return ""

    def _configure(self, name: str, key: str, value: str) -> None:
        instance = self.design.cells[name]
        plain = key.removeprefix("CONFIG.")
        known = CATALOGUE[instance.ip].properties if instance.ip else {}
        if plain not in known or plain == key:
            raise Wrong(f"{name} has no property {key}")
        if not re.fullmatch(known[plain][0], value):
            raise Wrong(f"{name}: {key} cannot be {value}")
        instance.properties[plain] = value
        instance.cell  # what does not go together  # noqa: B018

    def _set_other(self, target: str, key: str, value: str) -> None:
        kind = "run" if target in ("synth_1", "impl_1") else target
        known = PROPERTIES.get(kind, {})
        if key not in known or not re.fullmatch(known[key], value):
            raise Wrong(f"{target or 'nothing'} has no property {key} that can be {value}")
        if key == "synth_checkpoint_mode":
            self.synthesis_mode = value
        if key == "top":
            if f"module {value} " not in "".join(path.read_text() for path in self.sources):
                raise Wrong(f"no module {value}")
            self.top = value

    def _get_property(self, options: dict[str, str], key: str, target: str) -> str:
        if target in self.design.cells:
            instance = self.design.cells[target]
            name = key.removeprefix("CONFIG.")
            known = {**instance.properties, **instance.cell.derived}
            if name not in known:
                raise Wrong(f"{target} has no property {key}")
            return known[name]
        if key == "VLNV" and target.split(":")[2] in CATALOGUE:
            return target
        if key == "CONFIG.FREQ_HZ" and target == "clk_wiz_0/clk_out1":
            mhz = self.design.cells["clk_wiz_0"].properties["CLKOUT1_REQUESTED_OUT_FREQ"]
            return str(round(float(mhz) * 1e6))
        if key in ("PROGRESS", "STATUS") and target in ("synth_1", "impl_1"):
            if target in self.done:
                return "100%" if key == "PROGRESS" else f"{target} Complete!"
            return "36%" if key == "PROGRESS" else f"{target} ERROR"
        if target in ("path_max", "path_min") and key in reports.PATH:
            setup, hold = self.slack_ns
            slack = setup if target == "path_max" else hold
            return str(slack) if key == "SLACK" else reports.PATH[key]
        raise Wrong(f"{target or 'nothing'} has no property {key}")

    # Block design --------------------------------------------------------------------------------

    def _get_ipdefs(self, options: dict[str, str]) -> str:
        found = re.fullmatch(r"NAME == (\w+)", options["-filter"])
        if not found or found[1] not in CATALOGUE:
            return ""
        return f"xilinx.com:ip:{found[1]}:{CATALOGUE[found[1]].version}"

    def _create_bd_design(self, options: dict[str, str], name: str) -> str:
        self._after("created", "create_bd_design")
        self.step = "designed"
        return name

    def _create_bd_cell(self, options: dict[str, str], name: str) -> str:
        self._after("designed", "create_bd_cell")
        if name in self.design.cells:
            raise Wrong(f"{name} is there already")
        if options["-type"] == "ip":
            self.design.cells[name] = Instance(ip=options["-vlnv"].split(":")[2])
        elif options["-type"] == "module":
            self.design.cells[name] = Instance(module=self._module(options["-reference"]))
        else:
            raise Wrong(f"no cells of type {options['-type']}")
        return name

    def _module(self, reference: str) -> Cell:
        found = []
        for path in self.sources:
            text = path.read_text()
            if re.search(rf"^\s*module {reference}\b", text, re.MULTILINE):
                found.append((path, text))
        if len(found) != 1:
            raise Wrong(f"{len(found)} sources define {reference}")
        path, text = found[0]
        if path.suffix != ".v":
            raise Wrong(f"{path.name}: a block design refers to plain Verilog only (UG994)")
        return read_module(text)[1]

    def _create_bd_intf_port(self, options: dict[str, str], name: str) -> str:
        if options["-mode"] not in ("Master", "Slave"):
            raise Wrong(f"{name} is neither Master nor Slave")
        self.design.ports[name] = options["-vlnv"]
        return name

    def _find(self, options: dict[str, str], pattern: str, names: Any) -> str:
        found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not found and "-quiet" not in options:
            raise Wrong(f"nothing is called {pattern}")
        return " ".join(found)

    def _get_bd_cells(self, options: dict[str, str], pattern: str) -> str:
        return self._find(options, pattern, self.design.cells)

    def _get_bd_pins(self, options: dict[str, str], pattern: str) -> str:
        return self._find(options, pattern, self.design.pins())

    def _get_bd_intf_pins(self, options: dict[str, str], pattern: str) -> str:
        return self._find(options, pattern, self.design.interfaces())

    def _get_bd_intf_ports(self, options: dict[str, str], pattern: str) -> str:
        return self._find(options, pattern, self.design.ports)

    def _get_bd_addr_spaces(self, options: dict[str, str], pattern: str) -> str:
        return self._find(options, pattern, self.design.spaces())

    def _get_bd_addr_segs(self, options: dict[str, str], pattern: str) -> str:
        return self._find(options, pattern, self.design.segments())

    def _connect_bd_net(self, options: dict[str, str], first: str, *others: str) -> str:
        for other in others:
            self.design.connect(first, other)
        return ""

    def _connect_bd_intf_net(self, options: dict[str, str], one: str, other: str) -> str:
        self.design.join(one, other)
        return ""

    def _assign_bd_address(self, options: dict[str, str], segment: str) -> str:
        offset, size = (int(options[name], 16) for name in ("-offset", "-range"))
        self.design.assign(options["-target_address_space"], segment, offset, size)
        return ""

    def _exclude_bd_addr_seg(self, options: dict[str, str], segment: str) -> str:
        self.design.excluded.add((options["-target_address_space"], segment))
        return ""

    def _validate_bd_design(self, options: dict[str, str]) -> str:
        self._after("designed", "validate_bd_design")
        if found := self.design.complaints():
            raise Wrong("; ".join(found))
        self.step = "validated"
        return ""

    def _save_bd_design(self, options: dict[str, str]) -> str:
        return ""

    # Implementation ------------------------------------------------------------------------------

    def _generate_target(self, options: dict[str, str], target: str, file: str) -> str:
        self._after("validated", "generate_target")
        if (target, file) != ("all", "top.bd"):
            raise Wrong(f"nothing to generate: {target} of {file}")
        handoff = Path(f"{self.project}.gen/sources_1/bd/top/hw_handoff/top.hwh")
        handoff.parent.mkdir(parents=True, exist_ok=True)
        handoff.write_text(self._handoff())
        self.step = "generated"
        return ""

    def _make_wrapper(self, options: dict[str, str]) -> str:
        self._after("generated", "make_wrapper")
        path = Path(f"{self.project}.gen/sources_1/bd/top/hdl/top_wrapper.v")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("module top_wrapper ();\nendmodule\n")
        self.step = "wrapped"
        return str(path)

    def _get_runs(self, options: dict[str, str], pattern: str) -> str:
        return self._find(options, pattern, ("synth_1", "impl_1"))

    def _launch_runs(self, options: dict[str, str], run: str) -> str:
        self._after("wrapped" if run == "synth_1" else "synthesised", f"launch_runs {run}")
        if self.top != "top_wrapper" or self.synthesis_mode != "None":
            raise Wrong("the top of the design is not what is synthesised")
        if run == self.failing:
            return ""
        self.done.add(run)
        self.step = "synthesised" if run == "synth_1" else "placed"
        if run == "impl_1":
            if options.get("-to_step") != "write_bitstream":
                raise Wrong("no bitstream is written")
            bits = Path(f"{self.project}.runs/impl_1/top_wrapper.bit")
            bits.parent.mkdir(parents=True, exist_ok=True)
            bits.write_bytes(b"bits")
        return ""

    def _wait_on_run(self, options: dict[str, str], run: str) -> str:
        return ""

    def _open_run(self, options: dict[str, str], run: str) -> str:
        self._after("placed", "open_run")
        self.step = "open"
        return ""

    def _report(self, options: dict[str, str], text: str) -> str:
        self._after("open", "a report")
        Path(options["-file"]).write_text(text)
        return ""

    def _report_timing_summary(self, options: dict[str, str]) -> str:
        return self._report(options, reports.timing(*self.slack_ns))

    def _report_utilization(self, options: dict[str, str]) -> str:
        ultrascale = not self.part.startswith("xc7")
        text = "hierarchy" if "-hierarchical" in options else reports.utilization(ultrascale)
        return self._report(options, text)

    def _report_power(self, options: dict[str, str]) -> str:
        return self._report(options, reports.POWER)

    def _get_timing_paths(self, options: dict[str, str]) -> str:
        self._after("open", "get_timing_paths")
        if options["-delay_type"] not in ("max", "min"):
            raise Wrong(f"no delay type {options['-delay_type']}")
        return f"path_{options['-delay_type']}"

    def _handoff(self) -> str:
        """Return the .hwh, as far as pynq and our driver read it (PG201's tools, UG1165)."""
        rows = []
        for name, instance in self.design.cells.items():
            kind = instance.ip or f"shell_{name}"
            vlnv = f"xilinx.com:ip:{kind}:{CATALOGUE[kind].version}" if instance.ip else (
                f"xilinx.com:module_ref:{kind}:1.0"
            )  # fmt: skip
            known = {**instance.given, **instance.cell.derived}
            inner = "".join(
                f"<PARAMETER NAME={quoteattr(key)} VALUE={quoteattr(value)}/>"
                for key, value in known.items()
            )
            inner = f"<PARAMETERS>{inner}</PARAMETERS><PORTS/><BUSINTERFACES>"
            for interface in instance.cell.interfaces:
                inner += (
                    f'<BUSINTERFACE NAME="{interface.name}" TYPE="{interface.mode.upper()}" '
                    f'VLNV="{interface.type}"/>'
                )
            inner += "</BUSINTERFACES>"
            if "Data" in instance.cell.spaces:
                inner += f"<MEMORYMAP>{self._memory_map(f'{name}/Data')}</MEMORYMAP>"
            rows.append(
                f'<MODULE FULLNAME="/{name}" INSTANCE="{name}" IPTYPE="PERIPHERAL" IS_PL="1" '
                f'MODTYPE="{kind}" VLNV="{vlnv}">{inner}</MODULE>\n'
            )
        return (
            '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n<EDKSYSTEM EDWVERSION="1.2" '
            f'VIVADOVERSION="2022.2"><SYSTEMINFO DEVICE="{self.part}" NAME="top"/>'
            f"<EXTERNALPORTS/><EXTERNALINTERFACES/><MODULES>\n{''.join(rows)}</MODULES></EDKSYSTEM>\n"
        )

    def _memory_map(self, space: str) -> str:
        segments = self.design.segments()
        master = self.design.spaces()[space].split("/")[1]
        return "".join(
            f'<MEMRANGE BASEVALUE="0x{offset:X}" HIGHVALUE="0x{offset + size - 1:X}" '
            f'INSTANCE="{segment.split("/")[0]}" MASTERBUSINTERFACE="{master}" MEMTYPE="REGISTER" '
            f'SLAVEBUSINTERFACE="{segments[segment].interface}"/>'
            for (where, segment), (offset, size) in self.design.assigned.items()
            if where == space
        )


def main(words: list[str]) -> int:
    """Run as Vivado is run in batch mode: 0, or 1 after an error."""
    slack = tuple(float(one) for one in os.environ.get("STAND_IN_SLACK", "0.213,0.011").split(","))
    tool = Vivado((slack[0], slack[1]), os.environ.get("STAND_IN_FAILING", ""))
    if words[:2] != ["-mode", "batch"]:
        print("ERROR: this stand-in has no window")
        return 1
    log = words[words.index("-log") + 1]
    with Path(log).open("w") as file, contextlib.redirect_stdout(_Both(sys.stdout, file)):
        print("****** Vivado v2022.2 (a stand-in: nothing is synthesised)")
        try:
            tool.run(Path(words[words.index("-source") + 1]).absolute())
        except Wrong as error:
            print(f"ERROR: {error}")
            return 1
    return 0


class _Both:
    """Writes to the terminal and to a log."""

    def __init__(self, *files: Any) -> None:
        self.files = files

    def write(self, text: str) -> None:
        for file in self.files:
            file.write(text)

    def flush(self) -> None:
        for file in self.files:
            file.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
