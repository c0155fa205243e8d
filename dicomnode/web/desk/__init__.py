"""The review desk: server-rendered pages for the people who decide what may leave."""
