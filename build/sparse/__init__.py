"""The second way to build an accelerator: the whole network as sparse constant hardware.

Where the dense way streams weights past multipliers, here every weight is wiring and adders, and a
zero costs nothing. A reader walks the files in this order:

network.py    the integer network: layers, what they compute, the range of every value
known.py      which of them there is hardware for
from_graph.py made from the exported QONNX graph, quantizers exact; from_integers.py: what a foreign
              network, written in integers, has beside
fold.py       without what is constant or unused
compose.py    with single taps and their quantizers as one staircase
adders.py     each matrix as adders that rows share
serial.py     where a position has several clocks, the adders digit by digit
scales.py     each parallel quantizer that is a friendly scale as two adders
lookups.py    each other one as a memory that its accumulator addresses
tables.py     each other quantizer as a table of segments
shared.py     several of which take turns in one memory
schedule.py   which hardware computes a layer, and in how many clocks
area.py       and about what that takes of a board (room.py)
emit.py       as SystemVerilog, module by module; *.sv are the modules that need no generation
assemble.py   put together: streams, FIFOs, what a simulation compares
"""
