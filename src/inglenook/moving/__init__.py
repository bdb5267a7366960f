"""Moving: an instance as an archive, an archive as an instance, and from one server to another (spec/12)."""
