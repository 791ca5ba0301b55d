"""Speed of the kernels: nanoseconds, instruction counts and ratios, never a pass or fail."""
