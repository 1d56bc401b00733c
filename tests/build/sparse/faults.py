"""Faults in generated SystemVerilog: one bit of a memory."""

import re


def memories(text):
    """Return (words, bits) of every memory of a module that starts with constants, by name."""
    found = re.findall(r"reg \[(\d+):0\] (\w+) \[0:(\d+)\];", text)
    return {
        name: (int(last) + 1, int(top) + 1) for top, name, last in found if f" {name}_0 = " in text
    }


def flipped(text, memory, word, bit=0):
    """Return a module's text with one bit of a word of a memory inverted."""
    _, bits = memories(text)[memory]
    starts = [int(s) for s in re.findall(rf" {memory}_(\d+) = ", text)]
    start = max(s for s in starts if s <= word)

    def change(found):
        image = int(found[2], 16) ^ 1 << ((word - start) * bits + bit)
        return f"{found[1]}{image:x};"

    text, count = re.subn(rf"( {memory}_{start} = \d+'h)([0-9a-f]+);", change, text)
    assert count == 1
    return text
