"""Becomes a file server: `files NAME ROOT`; NAME is nginx, caddy, http.server, or an engine of `serve`.

Its port is announced before it listens; the process is the server's own from then on.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from .job import HOST, announce

_NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000000;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{ listen {host}:{port} backlog=4096; root {root}; }}
}}
"""


def main() -> None:
    """Announce a free port and become the server."""
    name, root = sys.argv[1:]
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    announce(port)
    if name == "nginx":
        folder = str(Path(root).parent)
        config = Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, host=HOST, port=port, root=root))
        os.environ["PATH"] += ":/usr/sbin"
        os.execvp("nginx", ["nginx", "-p", folder, "-e", "stderr", "-c", str(config)])
    if name == "caddy":
        command = ["caddy", "file-server", "--root", root, "--listen", f"{HOST}:{port}"]
        os.execvpe("caddy", command, os.environ | {"GOMAXPROCS": "1", "HOME": str(Path(root).parent)})
    python = [sys.executable, "-m"]
    if name == "http.server":
        # Its line of log for each request goes nowhere: nobody would read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        command = [*python, "http.server", "-b", HOST, "-d", root, "--protocol", "HTTP/1.1", str(port)]
    else:
        address = f"tcp://{HOST}:{port}"
        command = [*python, "evsockets", "serve", root, "--address", address, "--engine", name]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
