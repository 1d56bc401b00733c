"""What runs on a board, copied to it as it is: Python 3.10, numpy, h5py and pynq, nothing of ours.

It is also the ground floor of the whole repository: what a board shares with the other stages is
here, once, and they import it from here.
"""
