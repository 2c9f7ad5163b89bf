"""The subcommands of event-collector, from options to exit status. Programs import the library, not this."""
