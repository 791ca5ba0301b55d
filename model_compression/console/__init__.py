"""The mixer's strip and main bus in TensorFlow, differentiable, held to the C kernels by its tests."""
