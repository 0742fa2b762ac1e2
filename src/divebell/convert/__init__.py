"""One architecture turned into another: grouped-query attention into latents (MLA)."""
