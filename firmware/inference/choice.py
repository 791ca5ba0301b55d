"""Which model a box thinks with: the words of ``--model`` beside the path of a bundle, and what holds without it."""

NONE, SHIPPED_WORD = "none", "shipped"
# Of render, run and the control process alike. SHIPPED_WORD where the bundle in this folder is to decide.
DEFAULT_MODEL = NONE
MODEL_HELP = f"learned model, or none: rules alone ({DEFAULT_MODEL})"
