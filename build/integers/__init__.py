"""A foreign network as integers alone, made once and exactly before FINN+'s first step.

    spelling.py       other people's habits: padding nodes, `auto_pad`, 2-D networks of 1-D frames
    check.py          what stands in the way, by node
    line.py           the straight line of nodes from the input to the output, cut at its layers
    layers.py         a layer as integer weights, and what an accumulator stands for
    staircase.py      what lies between two layers as thresholds on the accumulators
    logits.py         the class scores as integers of the same order
    integer_graph.py  the graph under construction
    lower.py          all of it: a QONNX graph in, a graph of integers out

Everything between two layers (scales, biases, batch norms, activations, quantizers) is a monotone
function of an integer, channel by channel. It is evaluated in float64 as the graph has it, and
becomes the thresholds at which its integer result steps. Whatever the operators are, nothing is
rounded twice.
"""
