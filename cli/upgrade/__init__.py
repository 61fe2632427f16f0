"""`mesh upgrade`: a running mesh goes on with the version that is installed now, under its traffic."""
