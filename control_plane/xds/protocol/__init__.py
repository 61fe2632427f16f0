"""Protocol state of delta ADS streams. Pure: no sockets, no clock; requests go in, responses come out."""
