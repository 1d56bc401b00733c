"""RTL kernels for layers that FINN has only as HLS, and their registration with FINN."""
