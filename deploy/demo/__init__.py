"""`aaronnet demo`: the whole chain on synthetic data, every step in a journal, and its report."""
