"""From trained students to TFLite files that both runtimes of the box take, and a gate that nothing else passes."""
