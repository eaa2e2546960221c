"""The contracts of Headrace: every record that crosses a topic, defined once, for every part."""
