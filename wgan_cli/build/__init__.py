"""From settings to objects: the only code that knows both."""
