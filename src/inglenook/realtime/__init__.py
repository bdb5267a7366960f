"""Events for who listens: changes of documents and announcements, over websockets (spec/07 §2)."""
