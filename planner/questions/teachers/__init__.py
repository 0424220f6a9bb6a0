"""`teachers`: which of the teachers that exist is best for a student."""
