"""How large the pools should be: measurements, and the monitor that acts on them."""
