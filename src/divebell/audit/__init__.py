"""What a model is and may be used for: licence, origin, hashes, and whether its files are what they should be."""
