"""What an answer costs: hardware, speed by formula, energy, carbon, money."""
