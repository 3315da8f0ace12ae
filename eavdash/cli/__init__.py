"""The command line: parsers, commands, terminal output, and the dashboard's server."""
