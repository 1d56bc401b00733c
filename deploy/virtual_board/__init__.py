"""A board without a board: PYNQ.remote's services with a simulated accelerator behind the DMAs."""
