"""Cycle-accurate simulation of kernels and whole accelerators with Verilator."""
