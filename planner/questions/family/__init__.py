"""`family`: one budget over a teacher and several students."""
