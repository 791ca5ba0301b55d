"""How good a mix, a model or a rule is: measures, baselines, statistics and the command `evaluate`."""
