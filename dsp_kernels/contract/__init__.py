"""The language all rooms speak: parameters, features, roles, and what is generated from them."""
