"""The learned models on the box: the only room that may load the TFLite runtime."""
