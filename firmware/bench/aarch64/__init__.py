"""The box's arithmetic on the box's processor: the same bits, the same answers, no more instructions."""
