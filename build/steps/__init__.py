"""Our own steps between FINN+'s: one small module a rewrite, usable from FINN's YAML configs."""
