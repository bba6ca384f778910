"""One check of a gradient: what numerical derivatives are, and what is compared with them."""
