"""The shell around an accelerator on a Zynq board: a Vivado project from our RTL alone.

A reader walks the files in this order:

    systems.py     the boards' processing systems: clock, memory, ports, as published
    wrappers.py    DMAs and accelerator as cells of a block design, in Verilog
    project.py     a folder with sources, settings and the script
    shell.tcl      the script: block design, synthesis, placement, reports, bitfile
    reports.py     what Vivado reports
    implement.py   runs Vivado in the folder
"""
