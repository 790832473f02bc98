"""The rules of the house as checks over the source tree; run by tools/tidy."""
