"""Programs and batch files that ship with tidegate."""
