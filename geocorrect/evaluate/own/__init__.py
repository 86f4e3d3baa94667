"""How good it is on the anchors that one has: each left out and localised from the others."""
