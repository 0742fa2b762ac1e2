"""How good a model is: what it writes is run and compared, and held against another model's predictions."""
