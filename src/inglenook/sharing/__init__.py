"""The life of a sharing between servers, from its creation to its end (spec/04)."""
