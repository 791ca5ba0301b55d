"""Labels out of finished mixes: gains and pans in closed form, and a fit of the whole console."""
