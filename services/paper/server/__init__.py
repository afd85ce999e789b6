"""The gateway's own side: connections, requests and answers, the control socket."""
