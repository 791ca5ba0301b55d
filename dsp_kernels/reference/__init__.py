"""Float64 NumPy twins of the kernels: written from the formulas, for reading and for tests, not for speed."""
