"""DSP kernels, their contract and their float64 references. Importing this loads no native code."""
