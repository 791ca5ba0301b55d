"""How many of the card's periods the audio loop serves while the box does everything else, beside cyclictest."""
